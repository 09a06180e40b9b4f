"""A problem with every boundary in it, and the ways of running it, in float64."""

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
WAYS = RULE | AUTODIFF
CASES = [("before", way) for way in WAYS] + [("after", way) for way in (*RULE, "autodiff")]
"""What autodiff keeps is found without a look at the form."""


class Problem(NamedTuple):
    """Arrays for `unroll`, all random."""

    params: gj.GRUParams
    xs: np.ndarray
    h0: np.ndarray
    h_reset: np.ndarray
    valid: np.ndarray
    resets: np.ndarray


def draw_problem(seed, reset):
    """Returns a problem; under x64."""
    rng = np.random.default_rng(seed)
    return Problem(
        jax.tree.map(
            jnp.asarray, gj.GRUParams(*reference.random_params(rng, INPUT, HIDDEN, reset))
        ),
        *(rng.normal(size=(BATCH, *shape)) for shape in ((TIME, INPUT), (HIDDEN,), (HIDDEN,))),
        rng.random((BATCH, TIME)) < 0.7,
        rng.random((BATCH, TIME)) < 0.4,
    )


def make_cell(reset):
    return gj.gru(HIDDEN, reset=reset, dtype=jnp.float64)


def run(problem, reset, **options):
    """Returns hs and h_last with all boundaries of the problem."""
    params, xs, h0, h_reset, valid, resets = problem
    boundaries = {"mask": valid, "resets": resets, "h_reset": h_reset}
    return gj.unroll(make_cell(reset), params, xs, h0, **boundaries, **options)


@lru_cache
def make_gradients(reset, reverse, way):
    """Builds `(problem, w, w_last) -> (gradients, (hs, h_last))`, compiled once for all tests.

    The loss is the sum of w hs and w_last sin(h_last); gradients are those of params, xs, h0 and
    h_reset.
    """

    def loss(differentiable, boundaries, w, w_last):
        problem = Problem(*differentiable, *boundaries)
        hs, h_last = run(problem, reset, reverse=reverse, **WAYS[way])
        return (w * hs).sum() + (w_last * jnp.sin(h_last)).sum(), (hs, h_last)

    gradients = jax.jit(jax.grad(loss, has_aux=True))
    return lambda problem, w, w_last: gradients(problem[:4], problem[4:], w, w_last)
