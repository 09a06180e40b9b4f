"""Strictness for every test: no silent broadcast; float64 where a test asks for it."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np
import pytest

import gru_jax as gj

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
