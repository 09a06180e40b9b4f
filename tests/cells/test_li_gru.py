from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import (
    check_dtype,
    check_gradient_of_zeros,
    check_parameters,
    check_step,
    check_trace,
    check_unroll,
    draw,
)
from refusals import refused

import gru_jax as gj
from gru_jax.testing import check_cell

PARAMS = gj.li_gru(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))


@pytest.mark.usefixtures("x64")
def test_it_is_its_equations(rng):
    cell = gj.li_gru(5, dtype=jnp.float64)
    check_step(rng, cell, reference.li_gru_gates)
    check_parameters(rng, cell, reference.li_gru_gates)
    problem = draw(rng, cell)
    check_unroll(rng, cell, reference.li_gru_gates, *problem)
    check_trace(cell, reference.li_gru_gates, *problem)


@pytest.mark.usefixtures("x64")
def test_epsilon_is_the_one_asked_for(rng):
    cell = gj.li_gru(5, epsilon=0.3, dtype=jnp.float64)
    gates = partial(reference.li_gru_gates, epsilon=0.3)
    check_step(rng, cell, gates)
    check_unroll(rng, cell, gates, *draw(rng, cell))


@pytest.mark.usefixtures("x64")
def test_the_scale_of_the_weights_of_x_does_not_matter(rng):
    cell = gj.li_gru(5, epsilon=1e-12, dtype=jnp.float64)
    params, xs, h0 = draw(rng, cell)
    larger = params._replace(W_z=params.W_z.at[:3].multiply(9), W_c=params.W_c.at[:3].multiply(7))
    want, _ = gj.unroll(cell, params, xs, h0)
    np.testing.assert_allclose(gj.unroll(cell, larger, xs, h0)[0], want, rtol=1e-6)


def test_a_product_without_spread_has_a_finite_gradient():
    check_gradient_of_zeros(gj.li_gru(5))


HALF = pytest.param(jnp.float16, marks=pytest.mark.slow("compiles in half precision"))


@pytest.mark.parametrize("dtype", [HALF, jnp.bfloat16, jnp.float64])
@pytest.mark.usefixtures("x64")
def test_results_have_the_dtype_of_the_parameters(rng, dtype):
    check_dtype(rng, partial(gj.li_gru, 5), dtype)


@pytest.mark.slow("compiles many derivatives")
def test_it_passes_the_battery():
    check_cell(gj.li_gru(5), 3)


def test_it_begins_with_gains_of_one_and_the_weights_of_a_gru():
    params = gj.li_gru(8).init(jax.random.key(0), 3)
    assert gj.count_parameters(params) == 2 * (11 * 8 + 8 + 8)
    assert not jnp.array_equal(params.W_z, params.W_c)
    np.testing.assert_allclose(params.W_c[3:].T @ params.W_c[3:], np.eye(8), atol=1e-5)
    np.testing.assert_array_equal([params.g_z, params.g_c], 1)
    np.testing.assert_array_equal([params.b_z, params.b_c], 0)
    keyed = gj.li_gru(8, gain_init=jax.nn.initializers.normal()).init(jax.random.key(0), 3)
    assert not jnp.array_equal(keyed.g_z, keyed.g_c)


CASES = {
    "li_gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.li_gru(0),
    "li_gru: epsilon must be above 0 and finite, got None.": lambda: gj.li_gru(3, epsilon=None),
    "li_gru: epsilon must be above 0 and finite, got 0.": lambda: gj.li_gru(3, epsilon=0),
    "li_gru: dtype must be a floating type, got int32.": lambda: gj.li_gru(3, dtype=jnp.int32),
    "li_gru: input_size must be a whole number from 1, got 0.": lambda: gj.li_gru(3).init(
        jax.random.key(0), 0
    ),
    "li_gru: params.W_z must be [joint, 65] to match the cell, got (76, 64).": lambda: gj.unroll(
        gj.li_gru(65), PARAMS, X
    ),
    "li_gru: params.g_c must be (64,) float32 to match params.W_z (76, 64), "
    "got (64,) bfloat16.": lambda: gj.unroll(
        gj.li_gru(64), PARAMS._replace(g_c=PARAMS.g_c.astype(jnp.bfloat16)), X
    ),
    "li_gru: x must be [*batch, 12] float32 to match params.W_z (76, 64), got (4, 11) float32.": (
        lambda: gj.li_gru(64).step(PARAMS, X[:, 1:], H)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
