"""A contender of the benchmark against the plain NumPy loops, and against gru_jax's gradients."""

import functools

import numpy as np
import reference

from gru_jax.app.bench import agreement
from gru_jax.app.bench.contenders import make_gru_jax
from gru_jax.app.bench.problem import Size, draw_problem

SIZE = Size(2, 5, 3, 4)


@functools.cache
def ours(reset):
    """Returns the problem and gru_jax's calls, compiled once for all tests."""
    problem = draw_problem(SIZE, reset)
    return problem, make_gru_jax(problem)


def check_numbers(make, reset, *, gradients=True):
    """Asserts that `make(problem)` computes the reference's states and gru_jax's gradients."""
    problem, own = ours(reset)
    calls = make(problem)
    valid = np.ones((SIZE.batch, SIZE.time), bool)
    zeros = np.zeros((SIZE.batch, SIZE.hidden))
    hs, _ = reference.unroll(problem.params, problem.xs, zeros, valid)
    np.testing.assert_allclose(calls.hs(calls.forward()), hs, atol=2e-6)
    differences = agreement.compare(calls, own, problem.params)
    assert set(differences) == {"states", "gradients"} if gradients else {"states"}
    assert all(value < 1e-5 for value in differences.values())
    if gradients:
        leaves, xs_grad = calls.gradients(calls.train())
        assert xs_grad.shape == problem.xs.shape
        assert all(np.abs(leaf).max() > 1e-2 for leaf in [*map(np.asarray, leaves), xs_grad])
