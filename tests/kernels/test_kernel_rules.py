"""The kernel's derivatives in every mode and order: its numbers are those of NumPy and of autodiff.

Each test runs on both kernels, the GPU's on an emulated GPU, and on their twin in JAX.
"""

from functools import partial

import chex
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
    differences,
    dot,
    draw,
    every_way,
    gradient,
    make_loss,
    score,
    value_and_gradient,
    with_and_without_clip,
)
from problems import BATCH, HIDDEN, INPUT, TIME

import gru_jax as gj

pytestmark = pytest.mark.usefixtures("code")

SLOW = pytest.mark.slow("compiles second derivatives of loops in pieces")
MEMORY = {
    "gates": {},
    "states": {"memory": "states", "chunk_size": 4},
    "chunked": {"memory": "chunked", "chunk_size": 3, "reverse": True},  # 8 steps: two are left
}


@every_way
def test_states_are_those_of_numpy(reset, clip, reverse, time_axis, bounded):
    params, xs, h0, h_reset, valid, resets = draw(reset)
    ways = {"mask": valid, "resets": resets} if bounded else {}
    ways = {name: jnp.moveaxis(a, 1, time_axis) for name, a in ways.items()}
    ways |= {"reverse": reverse, "time_axis": time_axis, "backend": "cpu"}
    ways |= {"h_reset": h_reset} if bounded else {}
    steps = jnp.moveaxis(xs, 1, time_axis)
    cell = gj.gru(HIDDEN, reset=reset, clip=clip)
    hs, h_last = gj.unroll(cell, params, steps, h0, **ways)
    valid = np.asarray(valid) if bounded else np.ones((BATCH, TIME), bool)
    begins = {"resets": np.asarray(resets), "h_reset": h_reset} if bounded else {}
    begins |= {"clip": clip or np.inf}
    want = reference.unroll(params, xs, h0, valid, reverse=reverse, **begins)
    assert 0.2 < (np.abs(want[0][valid]) == clip).mean() < 0.5 or not clip
    close((jnp.moveaxis(hs, time_axis, 1), h_last), want)


@every_way
def test_gradients_of_everything_are_autodiffs(reset, clip, reverse, time_axis, bounded):
    point = draw(reset)[:4]
    ways = {"clip": clip, "reverse": reverse, "bounded": bounded}
    loss = make_loss(reset, time_axis=time_axis, **ways)
    close(jax.jit(value_and_gradient(loss))(*point), autodiff(reset, point, **ways))


def test_a_gradient_asked_for_alone_is_the_one_among_all(form):
    params, *others = draw(form)[:4]
    loss = make_loss(form)

    def of_biases(b_r, b_z, b_c):
        return loss(params._replace(b_r=b_r, b_z=b_z, b_c=b_c), *others)

    @jax.jit
    def ways(*biases):
        of_xs = jax.grad(loss, argnums=1)(params, *others)
        return jax.grad(of_biases, argnums=(0, 1, 2))(*biases), of_xs

    want = autodiff(form, (params, *others))[1]
    biases = want[0].b_r, want[0].b_z, want[0].b_c
    close(ways(params.b_r, params.b_z, params.b_c), (biases, want[1]))


@pytest.mark.parametrize(
    ("reset", "clip", "memory", "ways"),
    [  # Programs of pieces take long to compile: each is one way in one form.
        ("before", None, "gates", ("product", "slope")),
        ("after", CLIP, "gates", ("product", "slope")),
        pytest.param("after", None, "gates", ("product", "slope", "curvature"), marks=SLOW),
        pytest.param("before", None, "states", ("product",), marks=SLOW),
        pytest.param("after", CLIP, "states", ("product",), marks=SLOW),
        pytest.param("after", None, "chunked", ("slope",), marks=SLOW),
        pytest.param("before", CLIP, "chunked", ("slope",), marks=SLOW),
    ],
)
def test_whatever_is_kept_each_order_and_mode_is_autodiffs(reset, clip, memory, ways):
    """Forward mode, both ways of a product with the Hessian, and the derivative of one of them."""
    point, along = (draw(reset, seed)[:4] for seed in (0, 1))
    loss = make_loss(reset, clip=clip, **MEMORY[memory])

    def slope(*point):
        return jax.jvp(loss, point, along)[1]

    def curvature(*point):
        return jax.jvp(slope, point, along)[1]

    def product(*point):
        return jax.jvp(gradient(loss), point, along)[1]

    reverse = MEMORY[memory].get("reverse", False)
    gradients, products, third = differences(reset, point, along, reverse=reverse, clip=clip)
    table = {
        "product": (product, products),
        "slope": (value_and_gradient(slope), (dot(gradients, along), products)),
        "curvature": (value_and_gradient(curvature), (dot(products, along), third)),
    }
    functions, want = zip(*(table[way] for way in ways), strict=True)
    # Terms that cancel are larger with each order, and so is what float32 loses of them.
    close(jax.jit(lambda *point: [f(*point) for f in functions])(*point), list(want), 2e-4, 2e-4)


@pytest.mark.slow("compiles Hessians")
@both_forms
def test_both_ways_to_a_hessian_are_autodiffs(code, reset):
    """One way for each code and form, so that any two of the three meet."""
    params, xs, h0, h_reset, *_ = draw(reset)

    def of(h):
        return make_loss(reset)(params, xs, h, h_reset)

    ways = jax.jacfwd(jax.grad(of)), jax.jacrev(jax.jacrev(of))
    got = jax.jit(ways[(code == "twin") ^ (reset == "after")])(h0)
    point = params, xs, h0, h_reset
    still = jax.tree.map(np.zeros_like, point)
    columns = []
    for one in np.eye(h0.size):
        along = *still[:2], one.reshape(h0.shape), still[3]
        columns.append(differences(reset, point, along)[1][2])
    want = np.stack(columns, -1).reshape(*h0.shape, *h0.shape)
    close(got, want, rtol=1e-4, atol=1e-4)  # Sums of more terms than a gradient's.


@both_forms
@with_and_without_clip
def test_linearize_and_the_transposes_of_both_ways_are_autodiffs(reset, clip):
    point, along = (draw(reset, seed)[:4] for seed in (0, 1))
    loss = make_loss(reset, clip=clip)

    @jax.jit
    def ways(point, along):
        value, push = jax.linearize(loss, *point)
        pulled = jax.linear_transpose(push, *point)(jnp.float32(2))
        _, pull = jax.vjp(loss, *point)
        (back,) = jax.linear_transpose(pull, jnp.float32(0))(along)
        return value, pulled, pull(jnp.float32(2)), back, jax.jvp(push, along, point)

    value, gradients = autodiff(reset, point, clip=clip)
    twice = jax.tree.map(lambda a: 2 * a, gradients)
    slope = dot(gradients, along)
    want = value, twice, twice, slope, (slope, dot(gradients, point))
    close(ways(point, along), want, rtol=1e-4)


@both_forms
def test_checkpoint_around_changes_no_gradient(reset):
    point = draw(reset)[:4]
    got = jax.jit(gradient(jax.checkpoint(make_loss(reset))))(*point)
    close(got, autodiff(reset, point)[1])


@both_forms
def test_inside_loops_and_branches_it_is_what_it_is_outside(reset):
    params, xs, h0, *_ = draw(reset)
    layer = partial(gj.unroll, gj.gru(HIDDEN, reset=reset), backend="cpu")

    def scanned(params):
        pieces = xs.reshape(BATCH, 4, TIME // 4, INPUT).swapaxes(0, 1)
        h_last, hs = jax.lax.scan(lambda h, x: layer(params, x, h)[::-1], h0, pieces)
        return score(hs, h_last)

    def branched(params):
        def plain(params):
            return score(*layer(params, xs, h0))

        return jax.lax.cond(xs.sum() < jnp.inf, plain, lambda _: 0.0, params)

    @jax.jit
    def ways(params):
        last = jax.lax.while_loop(lambda h: (h == h0).all(), lambda h: layer(params, xs, h)[1], h0)
        return jax.value_and_grad(scanned)(params), jax.value_and_grad(branched)(params), last

    value, gradients = autodiff(reset, (params, xs, h0, h0), bounded=False)
    _, last = reference.unroll(params, xs, h0, np.ones((BATCH, TIME), bool))
    close(ways(params), ((value, gradients[0]), (value, gradients[0]), last))


@pytest.mark.slow("runs each primitive by itself")
@both_forms
@pytest.mark.parametrize("code", ["compiled"], indirect=True)
def test_without_jit_it_is_the_same(reset):
    """There it is the twin that runs, whichever code programs have."""
    point, along = (draw(reset, seed)[:4] for seed in (0, 1))
    loss = make_loss(reset)
    with jax.disable_jit():
        got = gradient(loss)(*point), jax.jvp(loss, point, along)
    value, gradients = autodiff(reset, point)
    close(got, (gradients, (value, dot(gradients, along))))


def test_dropped_weights_are_xlas(form):
    point = draw(form)[:3]
    cell = gj.gru(HIDDEN, reset=form)

    def gradients(backend):
        def loss(params, xs, h0):
            ways = {"drop_connect": 0.4, "key": jax.random.key(3), "backend": backend}
            return score(*gj.unroll(cell, params, xs, h0, **ways))

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*point)

    close(gradients("cpu"), gradients("xla"))


@both_forms
def test_the_trace_has_the_states_of_unroll_and_xlas_gates(reset):
    params, xs, h0, h_reset, valid, resets = draw(reset)
    ways = {"mask": valid, "resets": resets, "h_reset": h_reset, "reverse": True}
    cell = gj.gru(HIDDEN, reset=reset)
    got, want = (gj.trace(cell, params, xs, h0, backend=b, **ways) for b in ("cpu", "xla"))
    close(got, want)
    hs, _ = gj.unroll(cell, params, xs, h0, backend="cpu", **ways)
    np.testing.assert_array_equal(got.h, hs)


@both_forms
def test_padding_cannot_leak(reset):
    params, xs, h0, _, valid, _ = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1, 2))
    def gradients(params, xs, h0):
        return score(*gj.unroll(cell, params, xs, h0, mask=valid, backend="cpu"))

    clean, garbage = (jnp.where(valid[..., None], xs, filler) for filler in (0, jnp.nan))
    chex.assert_trees_all_equal(gradients(params, garbage, h0), gradients(params, clean, h0))
