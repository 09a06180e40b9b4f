"""The kernel's problem in float32, and the oracle of its derivatives.

The oracle is JAX's derivative of XLA's plain loop, in float64; derivatives of a higher order are
differences of it.
"""

from functools import lru_cache, partial
from itertools import product

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import BATCH, HIDDEN, draw_problem

import gru_jax as gj

CLIP = 0.5
"""The bound of a clipped state, which about a third of all states reach."""

with_and_without_clip = pytest.mark.parametrize("clip", [None, CLIP])
RESETS = ("before", "after")

both_forms = pytest.mark.parametrize("reset", RESETS)
every_way = pytest.mark.parametrize(
    ("reset", "clip", "reverse", "time_axis", "bounded"),
    [  # Any four of the five meet in every way.
        (reset, clip, reverse, int((reset == "after") ^ bool(clip) ^ reverse ^ bounded), bounded)
        for reset, clip, reverse, bounded in product(
            RESETS, (None, CLIP), (False, True), (False, True)
        )
    ],
)

gradient = partial(jax.grad, argnums=(0, 1, 2, 3))
value_and_gradient = partial(jax.value_and_grad, argnums=(0, 1, 2, 3))


def draw(reset, seed=0):
    """Returns params, xs, h0, h_reset, and which steps are valid and which begin a segment."""
    return jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32 if a.dtype == float else a.dtype),
        draw_problem(seed, reset),
    )


def score(hs, h_last):
    return (jnp.sin(hs) * hs).sum() + (h_last**3).sum()


def make_loss(
    reset, *, clip=None, dtype=jnp.float32, reverse=False, time_axis=1, bounded=True, **ways
):
    """Returns the kernel's loss of params, xs, h0 and h_reset, with the boundaries of a problem."""
    *_, valid, resets = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset, clip=clip, dtype=dtype)

    def loss(params, xs, h0, h_reset):
        xs, mask, begins = (jnp.moveaxis(a, 1, time_axis) for a in (xs, valid, resets))
        bounds = {"mask": mask, "resets": begins, "h_reset": h_reset} if bounded else {}
        bounds |= {"reverse": reverse, "time_axis": time_axis}
        return score(*gj.unroll(cell, params, xs, h0, **bounds, **ways))

    return loss


@lru_cache
def compile_autodiff(reset, reverse, clip):
    """Returns the oracle's program, which is still there when JAX's caches are cleared."""
    cell = gj.gru(HIDDEN, reset=reset, clip=clip, dtype=jnp.float64)
    ways = {"reverse": reverse, "derivative": "autodiff"}

    def loss(params, xs, h0, h_reset, valid, resets, share):
        bounds = {"mask": valid, "resets": resets, "h_reset": h_reset}
        states = gj.unroll(cell, params, xs, h0, **bounds, **ways)
        return share @ jax.vmap(score)(*states)

    example = jax.tree.map(np.asarray, draw_problem(0, reset)), np.ones(BATCH)
    return jax.jit(value_and_gradient(loss)).lower(*example[0], example[1]).compile()


def autodiff(reset, point, *, clip=None, reverse=False, bounded=True, share=None):
    """Returns the loss and its gradients in float64; `share` weighs the rows' losses."""
    valid, resets = draw_problem(0, reset)[4:]
    if not bounded:
        valid, resets = np.ones_like(valid), np.zeros_like(resets)
    share = np.ones(BATCH) if share is None else share
    with jax.enable_x64(True):
        point = jax.tree.map(lambda a: np.asarray(a, float), tuple(point))
        found = compile_autodiff(reset, reverse, clip)(*point, valid, resets, share)
        return jax.tree.map(np.asarray, found)


def differences(reset, point, along, **ways):
    """Returns gradients and their first and second derivative along a direction."""
    step = 1e-4  # A cut series is off by its square, rounding by 1e-16 over its square: by 1e-8.

    def gradients(s):
        moved = jax.tree.map(lambda a, d: np.float64(a) + s * np.float64(d), tuple(point), along)
        return autodiff(reset, moved, **ways)[1]

    behind, here, ahead = map(gradients, (-step, 0, step))
    first = jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)
    return here, first, jax.tree.map(lambda a, h, b: (a - 2 * h + b) / step**2, ahead, here, behind)


def dot(these, those):
    products = jax.tree.map(lambda a, b: np.vdot(np.float64(a), np.float64(b)), these, those)
    return sum(jax.tree.leaves(products))


def close(got, want, rtol=2e-5, atol=2e-5):
    """Asserts equality up to what float32 loses, about 1e-7, in sums of some hundred terms."""
    want = jax.tree.map(lambda a: a if a.dtype == bool else np.float32(a), want)
    chex.assert_trees_all_close(got, want, rtol=rtol, atol=atol)


def draw_sizes(rng, reset, batch, time, input_size, hidden_size):
    """Returns params, xs, h0, h_reset, and which steps are valid and which begin a segment."""
    leaves = reference.random_params(rng, input_size, hidden_size, reset)
    leaves = [a if a is None else a.astype(np.float32) for a in leaves]
    arrays = [
        rng.normal(size=shape).astype(np.float32)
        for shape in ((batch, time, input_size), (batch, hidden_size), (batch, hidden_size))
    ]
    masks = [rng.random((batch, time)) < share for share in (0.7, 0.3)]
    return gj.GRUParams(*leaves), *arrays, *masks


def gates_of(backend, values):
    """Returns sigmoid and tanh of values as a kernel computes them."""
    size = 16
    xs = np.zeros(-(-values.size // size) * size, np.float32)
    xs[: values.size] = values
    W = np.concatenate([np.eye(size), np.zeros((size, size))]).astype(np.float32)
    b = np.zeros(size, np.float32)
    params = gj.GRUParams(W, b, W, b, W, b)
    xs = xs.reshape(-1, 1, size)  # one step each: h = z c from a state of zero
    # Two runs tell z and c apart: a candidate of 1 leaves z, an update gate of 1 leaves c.
    ones, cell = np.full(size, 30, np.float32), gj.gru(size)
    _, z = gj.unroll(cell, params._replace(W_c=0 * W, b_c=ones), xs, backend=backend)
    _, c = gj.unroll(cell, params._replace(W_z=0 * W, b_z=ones), xs, backend=backend)
    return np.ravel(z)[: values.size], np.ravel(c)[: values.size]


def check_ulps(backend, values):
    """Asserts that sigmoid and tanh are within 2.5 units in the last place, in normal numbers."""

    def ulps(found, true):
        return np.abs(found - true) / np.spacing(np.abs(true).astype(np.float32)).astype(float)

    values = values.astype(np.float32)
    z, c = gates_of(backend, values)
    sigmoid, tanh = 1 / (1 + np.exp(-values.astype(float))), np.tanh(values.astype(float))
    normal = sigmoid >= np.finfo(np.float32).tiny
    assert ulps(z, sigmoid)[normal].max() < 2.5
    assert np.abs(z - sigmoid)[~normal].max() < 1.2e-38
    normal = np.abs(tanh) >= np.finfo(np.float32).tiny
    assert ulps(c, tanh)[normal].max() < 2.5


def check_extremes(backend, clip):
    """Asserts that infinities saturate and that NaN stays."""
    cell, bound = gj.gru(1, clip=clip), clip or np.inf
    zero, one = np.zeros((2, 1), np.float32), np.full(1, 30, np.float32)
    for value, tanh in ((np.inf, 1), (-np.inf, -1), (np.nan, np.nan), (100, 1), (-100, -1)):
        b = np.full(1, value, np.float32)
        for b_z, b_c, wanted in ((one, b, tanh), (b, one, (1 + tanh) / 2)):
            params = gj.GRUParams(zero, one, zero, b_z, zero, b_c)
            _, h = gj.unroll(cell, params, np.zeros((1, 1, 1), np.float32), backend=backend)
            wanted = np.clip(np.float32([[wanted]]), -bound, bound)
            np.testing.assert_equal(np.asarray(h), wanted)
