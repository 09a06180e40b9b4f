"""Strictness for every test: no silent broadcast; float64 where a test asks for it."""

import os
from types import SimpleNamespace

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np
import pytest

import gru_jax as gj
from gru_jax.kernels import lowering, operator
from gru_jax.kernels.cpu import library

jax.config.update("jax_numpy_rank_promotion", "raise")

CELLS = {
    "gru": lambda **options: gj.gru(5, **options),
    "gru-after": lambda **options: gj.gru(5, reset="after", **options),
    "gru-activations": lambda **options: gj.gru(
        5, activation="softsign", gate_activation="hard_sigmoid", clip=0.5, **options
    ),
    "layer-norm": lambda **options: gj.layer_norm_gru(5, **options),
    "layer-norm-after": lambda **options: gj.layer_norm_gru(5, reset="after", **options),
    "learned": lambda **options: gj.learned_initial_state(gj.gru(5, **options)),
}
"""Every cell, for the battery of tests that holds for all."""


@pytest.fixture(params=CELLS)
def make_cell(request):
    return CELLS[request.param]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module", params=["compiled", "twin"])
def code(request):
    """Lowers the kernel's primitives to one of the two.

    Each program runs once and compiling it is what takes time: XLA is told not to try hard.
    """
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            assert library.reason() is None, library.reason()
        else:
            patch.setattr(operator, "library", SimpleNamespace(reason=lambda: None))
            patch.setattr(lowering, "library", SimpleNamespace(reason=lambda: "a twin's turn"))
            patch.setattr(lowering, "fall_back", lambda *_: None)
        jax.config.update(option, True)
        jax.clear_caches()
        yield request.param
    jax.config.update(option, before)
    jax.clear_caches()


@pytest.fixture
def form(code):
    """One form for each code, where neither has to do with the other."""
    return {"compiled": "before", "twin": "after"}[code]
