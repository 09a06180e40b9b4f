from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import check_parameters, check_step, check_trace, check_unroll, draw
from refusals import refused

import gru_jax as gj
from gru_jax.ops.activations import ACTIVATIONS

PARAMS = gj.min_gru(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))


@pytest.mark.usefixtures("x64")
def test_it_is_its_equations(rng):
    cell = gj.min_gru(5, dtype=jnp.float64)
    check_step(rng, cell, reference.min_gru_gates)
    check_parameters(rng, cell, reference.min_gru_gates)
    problem = draw(rng, cell)
    check_unroll(rng, cell, reference.min_gru_gates, *problem)
    check_trace(cell, reference.min_gru_gates, *problem)


def positive(a):
    """The candidate's activation in log space, Feng et al. (2024)."""
    return jnp.where(a >= 0, a + 0.5, jax.nn.sigmoid(a))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("activation", ["tanh", positive])
def test_the_activation_is_the_one_asked_for(rng, activation):
    cell = gj.min_gru(5, activation=activation, dtype=jnp.float64)
    gates = partial(
        reference.min_gru_gates, activation=np.tanh if activation == "tanh" else activation
    )
    check_step(rng, cell, gates)
    check_unroll(rng, cell, gates, *draw(rng, cell))


@pytest.mark.usefixtures("x64")
def test_it_is_a_gru_without_weights_on_the_state(rng):
    cell = gj.min_gru(5, dtype=jnp.float64)
    params, xs, h0 = draw(rng, cell)
    W_z, W_c = (jnp.pad(W, ((0, 5), (0, 0))) for W in (params.W_z, params.W_c))
    twin = gj.GRUParams(W_z, params.b_z, W_z, params.b_z, W_c, params.b_c)
    gru = gj.gru(5, activation="linear", dtype=jnp.float64)
    want, _ = gj.unroll(gru, twin, xs, h0)
    np.testing.assert_allclose(gj.unroll(cell, params, xs, h0)[0], want, rtol=1e-11)


def test_recurrent_dropout_changes_nothing_and_drop_connect_is_refused(rng):
    cell = gj.min_gru(5)
    params, xs, h0 = draw(rng, cell)
    want, _ = gj.unroll(cell, params, xs, h0)
    key = jax.random.key(0)
    hs, _ = gj.unroll(cell, params, xs, h0, key=key, recurrent_dropout=0.5)
    np.testing.assert_allclose(hs, want, rtol=1e-6)
    message = "unroll: drop_connect must be 0 for a cell without weights that act on the state"
    with refused(f"{message}, got 0.5."):
        gj.unroll(cell, params, xs, h0, key=key, drop_connect=0.5)


def test_it_begins_with_weights_of_their_own_and_no_biases():
    params = gj.min_gru(8).init(jax.random.key(0), 3)
    assert gj.count_parameters(params) == 2 * (3 * 8 + 8)
    assert not jnp.array_equal(params.W_z, params.W_c)
    assert 0 < jnp.abs(params.W_z).max() < (6 / 11) ** 0.5
    assert not params.b_z.any()
    assert not params.b_c.any()


CASES = {
    "min_gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.min_gru(0),
    "min_gru: dtype must be a floating type, got int32.": lambda: gj.min_gru(3, dtype=jnp.int32),
    "min_gru: input_size must be a whole number from 1, got 0.": lambda: gj.min_gru(3).init(
        jax.random.key(0), 0
    ),
    f"min_gru: activation must be a function or one of {', '.join(ACTIVATIONS)}, got 'tan'.": (
        lambda: gj.min_gru(3, activation="tan")
    ),
    "min_gru: params.W_z must be [input, 65] to match the cell, got (12, 64).": lambda: gj.unroll(
        gj.min_gru(65), PARAMS, X
    ),
    "min_gru: params.W_c must be (12, 64) float32 to match params.W_z (12, 64), "
    "got (11, 64) float32.": lambda: gj.unroll(
        gj.min_gru(64), PARAMS._replace(W_c=PARAMS.W_c[1:]), X
    ),
    "min_gru: x must be [*batch, 12] float32 to match params.W_z (12, 64), got (4, 11) float32.": (
        lambda: gj.min_gru(64).step(PARAMS, X[:, 1:], H)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
