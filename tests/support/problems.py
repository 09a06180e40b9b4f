"""Random problems, and the options of `unroll` that must not change their numbers."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import reference

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 4, 8, 3, 5

RULE = {
    "gates": {},
    "states": {"memory": "states", "chunk_size": 4},
    "chunked": {"memory": "chunked", "chunk_size": 3},
}
AUTODIFF = {
    "autodiff": {"derivative": "autodiff"},
    "autodiff-states": {"derivative": "autodiff", "memory": "states"},
    "autodiff-chunked": {"derivative": "autodiff", "memory": "chunked", "chunk_size": 4},
}
OPTIONS = RULE | AUTODIFF
"""The options of each name: what is kept for the derivative, and whose derivative it is."""
CASES = [("before", name) for name in OPTIONS]
CASES += [("after", name) for name in (*RULE, "autodiff")]
"""Forms and names of options. What autodiff keeps does not depend on the form."""


class Problem(NamedTuple):
    """Arrays for `unroll`, with every boundary, all random."""

    params: gj.GRUParams
    xs: np.ndarray
    h0: np.ndarray
    h_reset: np.ndarray
    valid: np.ndarray
    resets: np.ndarray


def draw_problem(seed, reset):
    """Returns a problem in float64; call it under x64."""
    rng = np.random.default_rng(seed)
    return Problem(
        jax.tree.map(
            jnp.asarray, gj.GRUParams(*reference.random_params(rng, INPUT, HIDDEN, reset))
        ),
        *(rng.normal(size=(BATCH, *shape)) for shape in ((TIME, INPUT), (HIDDEN,), (HIDDEN,))),
        rng.random((BATCH, TIME)) < 0.7,
        rng.random((BATCH, TIME)) < 0.4,
    )


def draw_gru(rng, reset, dtype=np.float32, input_size=3, hidden_size=5, batch=(4,)):
    """Returns the parameters, the input and the state of one step."""
    leaves = reference.random_params(rng, input_size, hidden_size, reset)
    params = gj.GRUParams(*(p if p is None else jnp.asarray(p, dtype) for p in leaves))
    x = jnp.asarray(rng.normal(size=(*batch, input_size)), dtype)
    h = jnp.asarray(rng.normal(size=(*batch, hidden_size)), dtype)
    return params, x, h


def make_cell(reset):
    return gj.gru(HIDDEN, reset=reset, dtype=jnp.float64)


def run(problem, reset, **options):
    """Returns hs and h_last with all boundaries of the problem."""
    params, xs, h0, h_reset, valid, resets = problem
    boundaries = {"mask": valid, "resets": resets, "h_reset": h_reset}
    return gj.unroll(make_cell(reset), params, xs, h0, **boundaries, **options)


@lru_cache
def make_gradients(reset, reverse, name):
    """Builds `(problem, w, w_last) -> (gradients, (hs, h_last))`, compiled once for all tests.

    The loss is the sum of w hs and w_last sin(h_last); gradients are those of params, xs, h0 and
    h_reset.
    """

    def loss(differentiable, boundaries, w, w_last):
        problem = Problem(*differentiable, *boundaries)
        hs, h_last = run(problem, reset, reverse=reverse, **OPTIONS[name])
        return (w * hs).sum() + (w_last * jnp.sin(h_last)).sum(), (hs, h_last)

    gradients = jax.jit(jax.grad(loss, has_aux=True))
    return lambda problem, w, w_last: gradients(problem[:4], problem[4:], w, w_last)
