"""JAX's transformations through a stack of every layer, in training, with boundaries."""

from functools import lru_cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

pytestmark = pytest.mark.usefixtures("x64")

BATCH, TIME, INPUT = 3, 6, 4
KEY = jax.random.key(3)


gru = partial(gj.gru, INPUT, dtype=jnp.float64)
NET = gj.stack(
    gj.gaussian_noise(0.1),
    gj.dropout(0.2, per_sequence=True),
    gj.residual(
        gj.bidirectional(
            gj.learned_initial_state(gru()),
            gj.learned_initial_state(gru(reset="after")),
            merge="sum",
            zoneout=0.2,
            recurrent_dropout=0.2,
            drop_connect=0.2,
        )
    ),
    gj.dropout(0.1),
    gj.dense(3, dtype=jnp.float64),
)


@lru_cache
def example():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda key: NET.init(key, INPUT), KEY)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape)), shapes)
    xs = jnp.asarray(rng.normal(size=(BATCH, TIME, INPUT)))
    resets = jnp.asarray(rng.random((BATCH, TIME)) < 0.3)
    return params, xs, resets, jnp.array([6, 4, 0])


def apply(params, xs, resets, length, key=KEY):
    ys, _ = NET.apply(params, xs, resets=resets, lengths=length, key=key)
    return ys


def loss(params, xs, resets, length, key=KEY):
    return (apply(params, xs, resets, length, key) ** 2).sum()


gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))


def row(index):
    params, *arrays = example()
    return params, *(a[index] for a in arrays)


def test_vmap_over_sequences_resets_and_lengths_is_a_python_loop():
    one = jax.jit(apply)
    got = jax.jit(jax.vmap(apply, in_axes=(None, 0, 0, 0)))(*example())
    np.testing.assert_allclose(got, [one(*row(i)) for i in range(BATCH)], rtol=1e-12, atol=1e-13)
    assert (got[0] != got[1]).any()


@pytest.mark.parametrize("mapped", ["params", "resets"])
def test_vmap_over_one_argument_is_a_python_loop(mapped):
    params, _, resets, _ = example()
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf, 2 * leaf]), params)
    names = ("params", "xs", "resets", "length")
    arguments = dict(zip(names, row(0), strict=True))
    arguments[mapped] = {"params": several, "resets": resets}[mapped]
    axes = [0 if name == mapped else None for name in names]

    def evaluate(*arguments):
        return apply(*arguments, key=None)

    got = jax.jit(jax.vmap(evaluate, in_axes=axes))(*arguments.values())
    for i in range(BATCH):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], arguments[mapped])
        want = evaluate(*(arguments | {mapped: own}).values())
        np.testing.assert_allclose(got[i], want, rtol=1e-12, atol=1e-13)
    assert (got[0] != got[1]).any()


def test_per_example_gradients_are_a_python_loop_of_gradients():
    got = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0, 0, 0)))(*example())
    each = [gradient(*row(i)) for i in range(BATCH)]
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.slow("compiles every order and mode")
def test_forward_and_reverse_mode_agree_with_each_other_and_with_differences():
    """And so do the two ways of a product with the Hessian; in evaluation."""
    params, xs, resets, lengths = example()
    rng = np.random.default_rng(1)
    v = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), (params, xs))

    @jax.jit
    def of(point):
        return loss(*point, resets, lengths, None)

    def moved(step):
        return jax.tree.map(lambda a, d: a + step * d, (params, xs), v)

    def dot(a, b):
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)))

    g = jax.jit(jax.grad(of))
    _, slope = jax.jit(lambda p: jax.jvp(of, (p,), (v,)))((params, xs))
    np.testing.assert_allclose(slope, dot(g((params, xs)), v), rtol=1e-11)
    step = 1e-5
    np.testing.assert_allclose(slope, (of(moved(step)) - of(moved(-step))) / (2 * step), rtol=1e-7)

    forward_over_reverse = jax.jit(lambda p: jax.jvp(jax.grad(of), (p,), (v,))[1])((params, xs))
    reverse_over_forward = jax.jit(jax.grad(lambda p: jax.jvp(of, (p,), (v,))[1]))((params, xs))
    chex.assert_trees_all_close(forward_over_reverse, reverse_over_forward, rtol=1e-8, atol=1e-10)
    differences = jax.tree.map(lambda a, b: (a - b) / (2 * step), g(moved(step)), g(moved(-step)))
    chex.assert_trees_all_close(forward_over_reverse, differences, rtol=1e-5, atol=1e-6)


def test_checkpoint_around_changes_no_gradient():
    around = jax.jit(jax.grad(jax.checkpoint(loss), argnums=(0, 1)))
    chex.assert_trees_all_close(around(*example()), gradient(*example()), rtol=1e-11, atol=1e-13)


def test_scan_around_goes_on_where_the_piece_before_ended():
    """In evaluation, with the layers that can stream."""
    net = gj.stack(
        gj.recurrent(gj.learned_initial_state(gru()), zoneout=0.2),
        gj.residual(gj.recurrent(gru(reset="after"))),
    )
    _, xs, resets, lengths = example()
    params = net.init(KEY, INPUT)
    mask = jnp.arange(TIME)[None] < lengths[:, None]

    def piece(state, steps):
        xs, resets, mask = steps
        ys, state = net.apply(params, xs, state, resets=resets, mask=mask)
        return state, ys

    def pieces(a):
        return a.reshape(BATCH, 3, 2, *a.shape[2:]).swapaxes(0, 1)

    start = net.initial_state(params, (BATCH, INPUT))
    state, ys = jax.lax.scan(piece, start, jax.tree.map(pieces, (xs, resets, mask)))
    want, last = net.apply(params, xs, resets=resets, mask=mask)
    np.testing.assert_allclose(ys.swapaxes(0, 1).reshape(want.shape), want, rtol=1e-12, atol=1e-14)
    chex.assert_trees_all_close(state, last, rtol=1e-12, atol=1e-14)


@pytest.mark.slow("compiles third derivatives")
def test_third_derivatives_are_those_of_the_slow_twin():
    cell = gj.gru(3, dtype=jnp.float64)
    params = cell.init(jax.random.key(0), 2)
    xs, h0 = jnp.ones((2, 4, 2)), jnp.full((2, 3), 0.5)

    def third(**ways):
        def f(h):
            return (gj.unroll(cell, params, xs, h, **ways)[0] ** 2).sum()

        def first(h):
            return jax.grad(f)(h).sum()

        def second(h):
            return jax.grad(first)(h).sum()

        return jax.jit(jax.grad(second))(h0)

    want = third(derivative="autodiff")
    for memory in ("gates", "states", "chunked"):
        np.testing.assert_allclose(third(memory=memory), want, rtol=1e-10, err_msg=memory)


@pytest.mark.slow("compiles every order and mode")
def test_without_jit_the_rule_is_the_same():
    cell = gj.gru(3, reset="after", dtype=jnp.float64)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((2, 4, 2))
    for reverse in (False, True):
        grad = jax.grad(lambda p, r=reverse: gj.unroll(cell, p, xs, reverse=r)[0].sum())
        with jax.disable_jit():
            plain = grad(params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain, grad(params))


@pytest.mark.parametrize("memory", ["gates", "states", "chunked"])
def test_a_second_eager_gradient_compiles_nothing(memory, caplog):
    cell = gj.gru(3, dtype=jnp.float64)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((2, 4, 2))

    def grad():
        return jax.grad(lambda p: gj.unroll(cell, p, xs, memory=memory)[0].sum())(params)

    with jax.log_compiles(), caplog.at_level("WARNING"):
        grad()
        assert any("Compiling" in record.getMessage() for record in caplog.records)
        caplog.clear()
        grad()
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
