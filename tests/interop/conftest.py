"""Fixtures of the tests of other frameworks."""

import jax
import pytest


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions, with 64 bits switched on for the second."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def torch():
    import torch

    torch.manual_seed(0)
    return torch
