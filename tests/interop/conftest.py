"""Fixtures of the tests of other frameworks."""

import jax
import pytest


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions, with 64 bits switched on for the second."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def rank_promotion():
    """Keras and Flax add vectors to matrices."""
    with jax.numpy_rank_promotion("allow"):
        yield
