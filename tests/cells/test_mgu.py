import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import check_parameters, check_step, check_trace, check_unroll, draw
from refusals import refused

import gru_jax as gj

PARAMS = gj.mgu(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))


@pytest.mark.usefixtures("x64")
def test_it_is_its_equations(rng):
    cell = gj.mgu(5, dtype=jnp.float64)
    check_step(rng, cell, reference.mgu_gates)
    check_parameters(rng, cell, reference.mgu_gates)
    problem = draw(rng, cell)
    check_unroll(rng, cell, reference.mgu_gates, *problem)
    check_trace(cell, reference.mgu_gates, *problem)


@pytest.mark.usefixtures("x64")
def test_it_is_a_gru_whose_two_gates_are_one(rng):
    cell = gj.mgu(5, dtype=jnp.float64)
    params, xs, h0 = draw(rng, cell)
    W_f, b_f, W_c, b_c = params
    twin = gj.GRUParams(W_f, b_f, W_f, b_f, W_c, b_c)
    want, _ = gj.unroll(gj.gru(5, dtype=jnp.float64), twin, xs, h0)
    np.testing.assert_allclose(gj.unroll(cell, params, xs, h0)[0], want, rtol=1e-11)


def test_it_begins_with_two_thirds_of_a_grus_parameters():
    params = gj.mgu(8).init(jax.random.key(0), 3)
    gru = gj.gru(8).init(jax.random.key(0), 3)
    assert 3 * gj.count_parameters(params) == 2 * gj.count_parameters(gru)
    assert not jnp.array_equal(params.W_f, params.W_c)
    for W, b in ((params.W_f, params.b_f), (params.W_c, params.b_c)):
        np.testing.assert_allclose(W[3:].T @ W[3:], np.eye(8), atol=1e-5)
        np.testing.assert_array_equal(b, 0)


CASES = {
    "mgu: hidden_size must be a whole number from 1, got 0.": lambda: gj.mgu(0),
    "mgu: dtype must be a floating type, got int32.": lambda: gj.mgu(3, dtype=jnp.int32),
    "mgu: input_size must be a whole number from 1, got 0.": lambda: gj.mgu(3).init(
        jax.random.key(0), 0
    ),
    "mgu: params must be MGUParams, got a GRUParams.": lambda: gj.unroll(
        gj.mgu(64), gj.gru(64).init(jax.random.key(0), 12), X
    ),
    "mgu: params.W_f must be [joint, 65] to match the cell, got (76, 64).": lambda: gj.unroll(
        gj.mgu(65), PARAMS, X
    ),
    "mgu: params.b_c must be (64,) float32 to match params.W_f (76, 64), got (63,) float32.": (
        lambda: gj.unroll(gj.mgu(64), PARAMS._replace(b_c=PARAMS.b_c[1:]), X)
    ),
    "mgu: x must be [*batch, 12] float32 to match params.W_f (76, 64), got (4, 11) float32.": (
        lambda: gj.mgu(64).step(PARAMS, X[:, 1:], H)
    ),
    "mgu: h must have the batch axes of x (4, 12), got (3, 64).": lambda: gj.mgu(64).step(
        PARAMS, X, H[1:]
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
