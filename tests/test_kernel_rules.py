"""The kernel under JAX's transformations: its numbers are those of XLA's loops and of NumPy.

Each test runs twice, with the compiled code and with its twin, which is what other devices run.
"""

from functools import partial
from itertools import product
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from ways import BATCH, HIDDEN, INPUT, TIME, draw_problem

import gru_jax as gj
from gru_jax import backend
from gru_jax.kernels import library, lowering

RESETS = ("before", "after")
MEMORY = {
    "gates": {"memory": "gates"},
    "states": {"memory": "states", "chunk_size": 3},
    "chunked": {"memory": "chunked", "chunk_size": 4},
}

both_forms = pytest.mark.parametrize("reset", RESETS)
every_way = pytest.mark.parametrize(
    ("reset", "reverse", "time_axis", "bounded"),
    list(product(RESETS, (False, True), (0, 1), (False, True))),
)
close = partial(chex.assert_trees_all_close, rtol=2e-5, atol=2e-5)


@pytest.fixture(autouse=True, scope="module", params=["compiled", "twin"])
def code(request):
    """Lowers the kernel's primitives to one of the two."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            assert library.reason() is None, library.reason()
        else:
            patch.setattr(backend, "library", SimpleNamespace(reason=lambda: None))
            patch.setattr(lowering, "library", SimpleNamespace(reason=lambda: "a twin's turn"))
        jax.clear_caches()
        yield request.param
    jax.clear_caches()


def draw(reset, seed=0):
    """Returns params, xs, h0, h_reset, and which steps are valid and which begin a segment."""
    return jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32 if a.dtype == float else a.dtype),
        draw_problem(seed, reset),
    )


def make_loss(reset, backend, *, reverse=False, time_axis=1, bounded=True, **ways):
    """Returns a loss of params, xs, h0 and h_reset, with the boundaries of a problem."""
    *_, valid, resets = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)

    def loss(params, xs, h0, h_reset):
        xs, mask, begins = (jnp.moveaxis(a, 1, time_axis) for a in (xs, valid, resets))
        bounds = {"mask": mask, "resets": begins, "h_reset": h_reset} if bounded else {}
        bounds |= {"reverse": reverse, "time_axis": time_axis}
        hs, h_last = gj.unroll(cell, params, xs, h0, backend=backend, **bounds, **ways)
        return (jnp.sin(hs) * hs).sum() + (h_last**3).sum()

    return loss


def both(make):
    """Returns what a function of the backend gives for the kernel and for XLA's loops."""
    return make("cpu"), make("xla")


@every_way
def test_states_are_those_of_numpy(reset, reverse, time_axis, bounded):
    params, xs, h0, h_reset, valid, resets = draw(reset)
    ways = {"mask": valid, "resets": resets} if bounded else {}
    ways = {name: jnp.moveaxis(a, 1, time_axis) for name, a in ways.items()}
    ways |= {"reverse": reverse, "time_axis": time_axis, "backend": "cpu"}
    ways |= {"h_reset": h_reset} if bounded else {}
    steps = jnp.moveaxis(xs, 1, time_axis)
    hs, h_last = gj.unroll(gj.gru(HIDDEN, reset=reset), params, steps, h0, **ways)
    valid = np.asarray(valid) if bounded else np.ones((BATCH, TIME), bool)
    begins = {"resets": np.asarray(resets), "h_reset": h_reset} if bounded else {}
    want = reference.unroll(params, xs, h0, valid, reverse=reverse, **begins)
    close((jnp.moveaxis(hs, time_axis, 1), h_last), jax.tree.map(jnp.float32, want))


@every_way
def test_gradients_of_everything_are_xlas(reset, reverse, time_axis, bounded):
    point = draw(reset)[:4]
    ways = {"reverse": reverse, "time_axis": time_axis, "bounded": bounded}

    def gradients(backend):
        loss = make_loss(reset, backend, **ways)
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(*point)

    close(*both(gradients))


@both_forms
@pytest.mark.parametrize("memory", MEMORY)
def test_whatever_is_kept_each_order_and_mode_is_xlas(reset, memory):
    """Forward mode, both ways of a product with the Hessian, and the derivative of one of them."""
    point, along = (draw(reset, seed)[:4] for seed in (0, 1))

    def orders(backend):
        loss = make_loss(reset, backend, **MEMORY[memory])

        def slope(*point):
            return jax.jvp(loss, point, along)[1]

        def product(*point):
            return jax.jvp(jax.grad(loss, argnums=(0, 1, 2, 3)), point, along)[1]

        def third(*point):
            return jax.grad(lambda *p: jax.jvp(slope, p, along)[1], argnums=(0, 1, 2, 3))(*point)

        other = jax.grad(slope, argnums=(0, 1, 2, 3))
        more = [third] if memory == "gates" else []
        return jax.jit(lambda *p: [f(*p) for f in (slope, product, other, *more)])(*point)

    got, want = both(orders)
    close(got[:3], want[:3], rtol=1e-4, atol=1e-4)
    close(got[1], got[2], rtol=1e-4, atol=1e-4)
    close(got[3:], want[3:], rtol=1e-3, atol=2e-3)


@both_forms
def test_both_ways_to_a_hessian_are_xlas(reset):
    params, xs, h0, h_reset, *_ = draw(reset)

    def hessians(backend):
        loss = make_loss(reset, backend)

        def of(h):
            return loss(params, xs, h, h_reset)

        return jax.jit(lambda h: (jax.jacfwd(jax.grad(of))(h), jax.jacrev(jax.jacrev(of))(h)))(h0)

    got, want = both(hessians)
    close(got, want, rtol=1e-4, atol=1e-4)
    close(*got, rtol=1e-4, atol=1e-4)


@both_forms
@pytest.mark.parametrize("time_axis", [0, 1])
@pytest.mark.parametrize("mapped", ["params", "xs", "h0", "h_reset"])
def test_vmap_over_one_argument_is_a_python_loop(reset, time_axis, mapped):
    arguments = dict(zip(("params", "xs", "h0", "h_reset"), draw(reset), strict=False))
    loss = make_loss(reset, "cpu", time_axis=time_axis)
    several = jax.tree.map(lambda a: jnp.stack([a, -a, 2 * a], -1), arguments[mapped])
    values = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))
    axes = [-1 if name == mapped else None for name in arguments]
    got = jax.jit(jax.vmap(values, axes))(*(arguments | {mapped: several}).values())
    one = jax.jit(values)
    for i in range(3):
        own = jax.tree.map(lambda a, i=i: a[..., i], several)
        want = one(*(arguments | {mapped: own}).values())
        close(jax.tree.map(lambda a, i=i: a[i], got), want, rtol=1e-4)


@both_forms
def test_gradients_of_each_example_are_a_python_loop(reset):
    """Data, states and boundaries, all are mapped; of two nested maps, too."""
    params, *data = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)

    def loss(params, xs, h0, h_reset, valid, resets, backend="cpu"):
        ways = {"mask": valid, "resets": resets, "h_reset": h_reset, "backend": backend}
        hs, h_last = gj.unroll(cell, params, xs, h0, **ways)
        return (hs**2).sum() + jnp.sin(h_last).sum()

    gradient = jax.grad(loss, argnums=(0, 1, 2, 3))
    each = jax.vmap(gradient, (None, 0, 0, 0, 0, 0))
    got = jax.jit(each)(params, *data)
    slowly = jax.jit(partial(jax.grad(loss, argnums=(0, 1, 2, 3)), backend="xla"))
    rows = [slowly(params, *(a[i] for a in data)) for i in range(BATCH)]
    close(got, jax.tree.map(lambda *a: jnp.stack(a), *rows))
    pairs = [a.reshape(2, BATCH // 2, *a.shape[1:]) for a in data]
    nested = jax.jit(jax.vmap(each, (None, 0, 0, 0, 0, 0)))(params, *pairs)
    close(jax.tree.map(lambda a: a.reshape(BATCH, *a.shape[2:]), nested), got)
    summed = jax.jit(jax.grad(lambda p: jax.vmap(loss, (None, *[0] * 5))(p, *data).sum()))(params)
    close(summed, jax.tree.map(lambda a: a.sum(0), got[0]), atol=1e-4)


def test_vmap_over_nothing_and_with_names_for_its_axis():
    params, xs, *_ = draw("before")
    cell = gj.gru(HIDDEN)

    def gradient(xs):
        return jax.grad(lambda p: gj.unroll(cell, p, xs, backend="cpu")[0].sum())(params)

    none = jax.jit(jax.vmap(gradient))(xs[:0])
    assert all(a.shape == (0, *p.shape) for a, p in zip(none, params, strict=True) if p is not None)
    named = jax.vmap(lambda x: jax.lax.psum(gradient(x), "row"), axis_name="row")(xs)
    close(jax.tree.map(lambda a: a[0], named), gradient(xs))
    close(jax.vmap(gradient, spmd_axis_name="data")(xs), jax.vmap(gradient)(xs))


@both_forms
def test_linearize_and_its_transpose_are_jvp_and_vjp(reset):
    point, along = (draw(reset, seed)[:4] for seed in (0, 1))
    loss = make_loss(reset, "cpu")
    value, push = jax.linearize(loss, *point)
    close((value, push(*along)), jax.jvp(loss, point, along))
    pulled = jax.linear_transpose(push, *point)(jnp.float32(2))
    close(pulled, jax.vjp(loss, *point)[1](jnp.float32(2)))
    _, pull = jax.vjp(loss, *point)
    (back,) = jax.linear_transpose(pull, jnp.float32(0))(along)
    close(back, push(*along), rtol=1e-4)
    twice = jax.jvp(push, along, point)[1]
    close(twice, push(*point))


@both_forms
def test_gradients_of_each_example_are_linear_in_what_arrives(reset):
    """Where weights' gradients come from those of the gates, outside the call."""
    params, xs, *_ = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)
    _, pull = jax.vjp(lambda p, x: gj.unroll(cell, p, x, backend="cpu")[0], params, xs)
    each, keys = jax.vmap(pull), jax.random.split(jax.random.key(0), 2)
    arriving = jax.random.normal(keys[0], (3, BATCH, TIME, HIDDEN))
    found = each(arriving)
    weigh = jax.tree.map(lambda a: jax.random.normal(keys[1], a.shape), found)
    (back,) = jax.linear_transpose(each, arriving)(weigh)
    dots = jax.tree.map(jnp.vdot, found, weigh)
    close(sum(jax.tree.leaves(dots)), jnp.vdot(arriving, back), rtol=1e-4)


@both_forms
def test_checkpoint_around_changes_no_gradient(reset):
    point = draw(reset)[:4]
    loss = make_loss(reset, "cpu")
    close(
        *(jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*point) for f in (jax.checkpoint(loss), loss))
    )


@both_forms
def test_inside_loops_and_branches_it_is_what_it_is_outside(reset):
    params, xs, h0, *_ = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)

    def layer(params, xs, h):
        return gj.unroll(cell, params, xs, h, backend="cpu")

    def scanned(params):
        pieces = xs.reshape(BATCH, 4, TIME // 4, INPUT).swapaxes(0, 1)
        _, hs = jax.lax.scan(lambda h, x: layer(params, x, h)[::-1], h0, pieces)
        return (hs**2).sum()

    def branched(params):
        return jax.lax.cond(xs.sum() < jnp.inf, plain, lambda _: 0.0, params)

    def plain(params):
        return (layer(params, xs, h0)[0] ** 2).sum()

    want = jax.value_and_grad(plain)(params)
    close(jax.jit(jax.value_and_grad(scanned))(params), want)
    close(jax.jit(jax.value_and_grad(branched))(params), want)
    last = jax.lax.while_loop(lambda h: (h == h0).all(), lambda h: layer(params, xs, h)[1], h0)
    close(last, layer(params, xs, h0)[1])


@both_forms
def test_without_jit_it_is_the_same(reset):
    point = draw(reset)[:4]
    gradient = jax.grad(make_loss(reset, "cpu"), argnums=(0, 1, 2, 3))
    with jax.disable_jit():
        plain = gradient(*point)
    close(plain, gradient(*point))


@both_forms
@pytest.mark.parametrize("time_axis", [0, 1, 2])
def test_several_batch_axes_and_none_are_rows(reset, time_axis):
    params, xs, h0, *_ = draw(reset)
    cell = gj.gru(HIDDEN, reset=reset)
    several, h = xs.reshape(2, 2, TIME, INPUT), h0.reshape(2, 2, HIDDEN)
    moved = jnp.moveaxis(several, 2, time_axis)
    hs, h_last = gj.unroll(cell, params, moved, h, time_axis=time_axis, backend="cpu")
    want, want_last = gj.unroll(cell, params, xs, h0, backend="xla")
    close(jnp.moveaxis(hs, time_axis, 2).reshape(want.shape), want)
    close(h_last.reshape(h0.shape), want_last)
    close(gj.unroll(cell, params, xs[0], h0[0], backend="cpu"), (want[0], want_last[0]))


@both_forms
def test_dropped_weights_are_xlas(reset):
    point = draw(reset)[:4]

    def gradients(backend):
        ways = {"drop_connect": 0.4, "key": jax.random.key(3)}
        return jax.jit(jax.grad(make_loss(reset, backend, **ways), argnums=(0, 1, 2, 3)))(*point)

    close(*both(gradients))


@both_forms
def test_the_tape_has_the_states_of_unroll_and_xlas_gates(reset):
    params, xs, h0, h_reset, valid, resets = draw(reset)
    ways = {"mask": valid, "resets": resets, "h_reset": h_reset, "reverse": True}
    cell = gj.gru(HIDDEN, reset=reset)
    got, want = both(lambda b: gj.trace(cell, params, xs, h0, backend=b, **ways))
    close(got, want)
    hs, _ = gj.unroll(cell, params, xs, h0, backend="cpu", **ways)
    np.testing.assert_array_equal(got.h, hs)


@both_forms
def test_padding_cannot_leak(reset):
    params, xs, h0, _, valid, _ = draw(reset)
    garbage = jnp.where(valid[..., None], xs, jnp.nan)
    cell = gj.gru(HIDDEN, reset=reset)

    def gradients(xs):
        def loss(params, xs, h0):
            hs, h_last = gj.unroll(cell, params, xs, h0, mask=valid, backend="cpu")
            return (hs**2).sum() + h_last.sum()

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(params, xs, h0)

    chex.assert_trees_all_equal(gradients(garbage), gradients(jnp.where(valid[..., None], xs, 0)))
