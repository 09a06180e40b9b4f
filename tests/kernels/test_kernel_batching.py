"""The kernel under `vmap` and with any batch axes: a Python loop over them has the same numbers.

Each test runs on both kernels, the GPU's on an emulated GPU, and on their twin in JAX.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from kernel_problems import (
    CLIP,
    autodiff,
    both_forms,
    close,
    dot,
    draw,
    gradient,
    make_loss,
    score,
    value_and_gradient,
    with_and_without_clip,
)
from problems import BATCH, HIDDEN, INPUT, TIME

import gru_jax as gj

pytestmark = pytest.mark.usefixtures("code")


def check_a_map(reset, time_axis, mapped, clip=None):
    """Asserts that a map over the arguments named is a Python loop."""
    moves = [name in mapped.split() for name in ("params", "xs", "h0", "h_reset")]
    point = draw(reset)[:4]

    def scaled(make):
        return [jax.tree.map(make, a) if m else a for m, a in zip(moves, point, strict=True)]

    axes = [-1 if m else None for m in moves]
    each = jax.vmap(value_and_gradient(make_loss(reset, time_axis=time_axis, clip=clip)), axes)
    got = jax.jit(each)(*scaled(lambda a: jnp.stack([a, -a, 2 * a], -1)))
    for i, factor in enumerate((1, -1, 2)):
        want = autodiff(reset, scaled(lambda a, factor=factor: factor * a), clip=clip)
        close(jax.tree.map(lambda a, i=i: a[i], got), want, rtol=1e-4)


@pytest.mark.parametrize(
    ("reset", "time_axis", "mapped", "clip"),
    [("before", 1, "xs", CLIP), ("after", 0, "h0", CLIP), ("after", 1, "h_reset", None)],
)
def test_vmap_over_what_is_of_rows_is_a_python_loop(reset, time_axis, mapped, clip):
    check_a_map(reset, time_axis, mapped, clip)


@pytest.mark.parametrize(("mapped", "clip"), [("params", CLIP), ("params xs h0 h_reset", None)])
def test_vmap_over_weights_is_a_python_loop(form, mapped, clip):
    check_a_map(form, {"before": 0, "after": 1}[form], mapped, clip)


@both_forms
@with_and_without_clip
def test_ensembles_are_python_loops(reset, clip):
    """Members in two axes, around and inside a map over data; and under the gradient."""
    params, *data = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset, clip=clip)
    factors = np.float32([[1, -1, 2], [-2, 0.5, -0.5]])
    members = jax.tree.map(lambda a: np.multiply.outer(factors, a), params)

    def loss(params, xs, h0, h_reset, valid, resets):
        ways = {"mask": valid, "resets": resets, "h_reset": h_reset, "backend": "cpu"}
        return score(*gj.unroll(cell, params, xs, h0, **ways))

    of_members, of_rows = (0, *[None] * 5), (None, *[0] * 5)

    @jax.jit
    def ways(members, data):
        each, m, r = gradient(loss), of_members, of_rows
        inside = jax.vmap(jax.vmap(jax.vmap(each, r), m), m)(members, *data)
        between = jax.vmap(jax.vmap(jax.vmap(each, m), r), m)(members, *data)
        around = jax.vmap(jax.vmap(jax.vmap(each, m), m), r)(members, *data)
        whole = jax.vmap(jax.vmap(loss, m), m)
        summed = gradient(lambda *args: whole(*args).sum())(members, *data)
        at = members, data[0]
        _, slopes = jax.jvp(lambda members, xs: whole(members, xs, *data[1:]), at, at)
        return (
            inside,
            jax.tree.map(lambda a: a.swapaxes(1, 2), between),
            jax.tree.map(lambda a: a.transpose(1, 2, 0, *range(3, a.ndim)), around),
            summed,
            slopes,
        )

    def stack(members):
        return jax.tree.map(lambda *a: np.reshape(a, (2, 3, *a[0].shape)), *members)

    points = [(jax.tree.map(partial(np.multiply, f), params), *data[:3]) for f in factors.flat]
    found = [autodiff(reset, point, clip=clip)[1] for point in points]
    each = stack([of_each_row(reset, point, clip=clip) for point in points])
    each = each, *stack([got[1:] for got in found])
    sums = jax.tree.map(lambda a: a.sum((0, 1)), each[1:])
    slopes = [dot(at[:2], got[:2]) for at, got in zip(points, found, strict=True)]
    want = each, each, each, (stack([got[0] for got in found]), *sums), stack(slopes)
    close(ways(members, data), want, rtol=1e-4, atol=1e-4)


def of_each_row(reset, point, **ways):
    """Returns the parameters' gradients of each row's loss."""
    rows = [autodiff(reset, point, share=share, **ways)[1][0] for share in np.eye(BATCH)]
    return jax.tree.map(lambda *a: np.stack(a), *rows)


@both_forms
@with_and_without_clip
def test_gradients_of_each_example_are_a_python_loop(reset, clip):
    """Data, states and boundaries, all are mapped, in one map, in two, and under the gradient."""
    params, *data = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset, clip=clip)
    axes = (None, 0, 0, 0, 0, 0)

    def loss(params, xs, h0, h_reset, valid, resets):
        ways = {"mask": valid, "resets": resets, "h_reset": h_reset, "backend": "cpu"}
        return score(*gj.unroll(cell, params, xs, h0, **ways))

    @jax.jit
    def ways(params, data):
        each = jax.vmap(gradient(loss), axes)
        pairs = [a.reshape(2, BATCH // 2, *a.shape[1:]) for a in data]
        nested = jax.vmap(each, axes)(params, *pairs)
        summed = jax.grad(lambda *args: jax.vmap(loss, axes)(*args).sum())(params, *data)
        return (
            each(params, *data),
            jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), nested),
            summed,
        )

    point = params, *data[:3]
    whole = autodiff(reset, point, clip=clip)[1]
    want = of_each_row(reset, point, clip=clip), *whole[1:]
    close(ways(params, data), (want, want, whole[0]), atol=1e-4)


def test_vmap_over_nothing_and_with_names_for_its_axis():
    params, xs, h0, *_ = draw("before")

    def gradients(xs):
        cell = gj.gru(HIDDEN)
        return jax.grad(lambda p: score(*gj.unroll(cell, p, xs, backend="cpu")))(params)

    @jax.jit
    def ways(xs):
        named = jax.vmap(lambda x: jax.lax.psum(gradients(x), "row"), axis_name="row")(xs)
        return jax.vmap(gradients, spmd_axis_name="data")(xs), jax.tree.map(lambda a: a[0], named)

    none = jax.jit(jax.vmap(gradients))(xs[:0])
    assert all(a.shape == (0, *p.shape) for a, p in zip(none, params, strict=True) if p is not None)
    rows = of_each_row("before", (params, xs, 0 * h0, h0), bounded=False)
    close(ways(xs), (rows, jax.tree.map(lambda a: a.sum(0), rows)))


@both_forms
def test_gradients_of_each_example_are_linear_in_what_arrives(rng, reset):
    """Where weights' gradients come from those of the gates, outside the call."""
    params, xs, *_ = draw(reset)
    arriving = rng.normal(size=(3, BATCH, TIME, HIDDEN)).astype(np.float32)
    weigh = jax.tree.map(lambda a: jnp.float32(rng.normal(size=(3, *a.shape))), (params, xs))

    @jax.jit
    def ways(params, xs):
        cell = gj.gru(HIDDEN, reset=reset)
        _, pull = jax.vjp(lambda p, x: gj.unroll(cell, p, x, backend="cpu")[0], params, xs)
        each = jax.vmap(pull)
        return each(arriving), jax.linear_transpose(each, arriving)(weigh)[0]

    found, back = ways(params, xs)
    close(np.float32(dot(arriving, back)), dot(found, weigh), rtol=1e-4)


@both_forms
@pytest.mark.parametrize("time_axis", [0, 1, 2])
def test_several_batch_axes_and_none_are_rows(reset, time_axis):
    params, xs, h0, *_ = draw(reset)
    layer = partial(gj.unroll, gj.gru(HIDDEN, reset=reset), params, backend="cpu")
    several, h = xs.reshape(2, 2, TIME, INPUT), h0.reshape(2, 2, HIDDEN)
    hs, h_last = layer(jnp.moveaxis(several, 2, time_axis), h, time_axis=time_axis)
    want = reference.unroll(params, xs, h0, np.ones((BATCH, TIME), bool))
    close((jnp.moveaxis(hs, time_axis, 2).reshape(want[0].shape), h_last.reshape(h0.shape)), want)
    close(layer(xs[0], h0[0]), (want[0][0], want[1][0]))
