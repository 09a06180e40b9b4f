import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import check_parameters, check_step, check_trace, check_unroll, draw
from refusals import refused

import gru_jax as gj

PARAMS = gj.diagonal_gru(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))


@pytest.mark.usefixtures("x64")
def test_it_is_its_equations(rng):
    cell = gj.diagonal_gru(5, dtype=jnp.float64)
    check_step(rng, cell, reference.diagonal_gates)
    check_parameters(rng, cell, reference.diagonal_gates)
    problem = draw(rng, cell)
    check_unroll(rng, cell, reference.diagonal_gates, *problem)
    check_trace(cell, reference.diagonal_gates, *problem)


@pytest.mark.usefixtures("x64")
def test_it_is_a_gru_with_diagonal_matrices_on_the_state(rng):
    cell = gj.diagonal_gru(5, dtype=jnp.float64)
    p, xs, h0 = draw(rng, cell)
    W_r, W_z, W_c = (
        jnp.concatenate([W, jnp.diag(u)])
        for W, u in ((p.W_r, p.u_r), (p.W_z, p.u_z), (p.W_c, p.u_c))
    )
    twin = gj.GRUParams(W_r, p.b_r, W_z, p.b_z, W_c, p.b_c)
    want, _ = gj.unroll(gj.gru(5, dtype=jnp.float64), twin, xs, h0)
    np.testing.assert_allclose(gj.unroll(cell, p, xs, h0)[0], want, rtol=1e-11)


def test_no_unit_depends_on_another(rng):
    cell = gj.diagonal_gru(5)
    params, xs, h0 = draw(rng, cell, batch=())
    rows = jax.jacobian(lambda h: gj.unroll(cell, params, xs, h)[1])(h0)
    assert jnp.abs(jnp.diag(rows)).min() > 0
    np.testing.assert_array_equal(rows, jnp.diag(jnp.diag(rows)))


def test_it_begins_with_state_weights_of_up_to_one():
    params = gj.diagonal_gru(400).init(jax.random.key(0), 3)
    assert gj.count_parameters(params) == 3 * (3 * 400 + 400 + 400)
    for u in (params.u_r, params.u_z, params.u_c):
        assert -1 <= u.min() < -0.97
        assert 0.97 < u.max() <= 1
    assert not jnp.array_equal(params.u_r, params.u_z)
    assert not jnp.array_equal(params.W_r, params.W_c)
    assert not params.b_z.any()


CASES = {
    "diagonal_gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.diagonal_gru(0),
    "diagonal_gru: dtype must be a floating type, got int32.": lambda: gj.diagonal_gru(
        3, dtype=jnp.int32
    ),
    "diagonal_gru: input_size must be a whole number from 1, got 0.": (
        lambda: gj.diagonal_gru(3).init(jax.random.key(0), 0)
    ),
    "diagonal_gru: params.W_r must be [input, 65] to match the cell, got (12, 64).": (
        lambda: gj.unroll(gj.diagonal_gru(65), PARAMS, X)
    ),
    "diagonal_gru: params.u_c must be (64,) float32 to match params.W_r (12, 64), "
    "got (64, 64) float32.": lambda: gj.unroll(
        gj.diagonal_gru(64), PARAMS._replace(u_c=jnp.zeros((64, 64))), X
    ),
    "diagonal_gru: h must be [*batch, 64] float32 to match params.W_r (12, 64), "
    "got (4, 63) float32.": lambda: gj.diagonal_gru(64).step(PARAMS, X, H[:, 1:]),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
