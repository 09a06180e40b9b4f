"""The rule's derivative, where it is more than the same numbers as autodiff's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from problems import INPUT, RULE, draw_problem, run

import gru_jax as gj

RESETS = ("before", "after")


@pytest.mark.usefixtures("x64")
def test_backwards_and_in_chunks_it_matches_finite_differences():
    """The battery of all cells has what is forward and in one piece."""
    problem = draw_problem(7, "after")

    @jax.jit
    def loss(*differentiable):
        given = problem._replace(**dict(zip(problem._fields, differentiable, strict=False)))
        hs, h_last = run(given, "after", reverse=True, **RULE["states"])
        return (hs**2).sum() + jnp.sin(h_last).sum()

    check_grads(loss, problem[:4], order=2, modes=["rev"], atol=1e-6, rtol=1e-6, eps=1e-5)


@pytest.mark.slow("runs 2,000 steps")
@pytest.mark.parametrize("reset", ["before", "after"])
def test_in_half_precision_it_adds_up_over_many_steps(reset):
    """Autodiff adds each step's gradient of a weight to a sum in bfloat16, and loses most of it.

    With a bias that lets units remember, the gradient of the state adds up, too.
    """
    time, size = 2000, 8
    rng = np.random.default_rng(0)
    exact = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.4, leaf.shape), jnp.bfloat16),
        gj.gru(size, reset=reset).init(jax.random.key(0), INPUT),
    )
    exact = exact._replace(b_z=exact.b_z - 2)
    xs = jnp.asarray(rng.normal(size=(4, time, INPUT)), jnp.bfloat16)

    def recurrent_gradients(dtype, derivative):
        cell = gj.gru(size, reset=reset, dtype=dtype)
        params, inputs = jax.tree.map(lambda a: a.astype(dtype), (exact, xs))

        def loss(params):
            hs, _ = gj.unroll(cell, params, inputs, derivative=derivative)
            return hs.astype(jnp.promote_types(dtype, jnp.float32)).mean()

        gradients = jax.jit(jax.grad(loss))(params)
        rows = [gradients.W_r[INPUT:], gradients.W_z[INPUT:], gradients.W_c[INPUT:]]
        return np.concatenate([np.asarray(W, float).ravel() for W in rows])

    def error(derivative):
        got = recurrent_gradients(jnp.bfloat16, derivative)
        return np.linalg.norm(got - want) / np.linalg.norm(want)

    with jax.enable_x64(True):
        want = recurrent_gradients(jnp.float64, "rule")
    # 2^-8, the spacing of bfloat16; with sums in it the error is 1 %, autodiff's is 68 %.
    assert error("rule") < 2**-8
    assert error("autodiff") > 5 * error("rule")
