"""One battery for every cell: what any recurrence must do to be stacked, trained and streamed."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_cell import CELLS
from jax.test_util import check_grads

import gru_jax as gj
from gru_jax.sequence.schedule import run as compiled_loop
from gru_jax.testing import check_cell

INPUT = 3
SLOW = pytest.mark.slow("compiles many derivatives")


@pytest.fixture
def example(make_cell, rng):
    """A cell with random parameters (biases too), one step's inputs, and a sequence."""
    cell = make_cell()
    return cell, *draw(cell, rng)


def draw(cell, rng, dtype=np.float32, batch=(4,), time=6):
    def normal(shape, scale=1.0):
        return jnp.asarray(scale * rng.normal(size=shape), dtype)

    params = jax.tree.map(lambda leaf: normal(leaf.shape, 0.5), cell.init(jax.random.key(0), INPUT))
    h0 = jax.tree.map(lambda leaf: normal(leaf.shape), cell.initial_state(params, (*batch, INPUT)))
    return params, normal((*batch, time, INPUT)), h0


def by_steps(cell, params, xs, h):
    """The slow twin of unroll: a Python loop over `step`."""
    hs = []
    for t in range(xs.shape[-2]):
        h = cell.step(params, xs[..., t, :], h)
        hs.append(h)
    return jnp.stack(hs, -2), h


def test_no_batch_axis_one_and_two_agree_with_vmap(make_cell, rng):
    cell = make_cell()
    params, xs, h0 = draw(cell, rng, batch=(2, 3))

    def run(xs, h0):
        return gj.unroll(cell, params, xs, h0)

    one, two = jax.vmap(run), jax.vmap(jax.vmap(run))
    chex.assert_trees_all_close(run(xs, h0), one(xs, h0), atol=1e-6)
    chex.assert_trees_all_close(run(xs, h0), two(xs, h0), atol=1e-6)
    chex.assert_trees_all_close(
        run(xs[1, 2], h0[1, 2]), jax.tree.map(lambda a: a[1, 2], run(xs, h0)), atol=1e-6
    )


def test_vmap_over_parameters(make_cell, rng):
    cell = make_cell()
    params, xs, h0 = draw(cell, rng)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    hs, _ = jax.vmap(lambda p: gj.unroll(cell, p, xs, h0))(twice)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    np.testing.assert_allclose(hs[1], gj.unroll(cell, doubled, xs, h0)[0], atol=2e-6)


@pytest.mark.parametrize(
    "make_cell",
    [name if name == "gru" else pytest.param(name, marks=SLOW) for name in CELLS],
    indirect=True,
)
def test_it_does_all_that_a_cell_promises(make_cell):
    check_cell(make_cell(), INPUT)


@SLOW
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", ["before", "after"])
def test_second_derivatives_match_finite_differences(reset, rng):
    cell = gj.gru(5, reset=reset, dtype=jnp.float64)
    params, xs, h0 = draw(cell, rng, np.float64, batch=(2,), time=4)
    valid = jnp.asarray([[True, False, True, True], [True, True, False, False]])

    resets = jnp.asarray([[False, True, False, True], [False, True, True, False]])

    @jax.jit
    def loss(params, xs, h0, h_reset):
        boundaries = {"mask": valid, "resets": resets, "h_reset": h_reset}
        hs, h_last = gj.unroll(cell, params, xs, h0, **boundaries)
        return (hs**2).sum() + jnp.sin(h_last).sum()

    primals = (params, xs, h0, 0.5 * jnp.ones_like(h0))
    check_grads(loss, primals, order=2, atol=1e-6, rtol=1e-6, eps=1e-5)


def test_per_example_gradients_sum_to_the_batchs(make_cell, rng):
    cell = make_cell()
    params, xs, h0 = draw(cell, rng)

    def loss(params, xs, h0):
        return (gj.unroll(cell, params, xs, h0)[0] ** 2).sum()

    each = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))(params, xs, h0)
    total = jax.tree.map(lambda g: g.sum(0), each)
    whole = jax.jit(jax.grad(loss))(params, xs, h0)
    chex.assert_trees_all_close(total, whole, rtol=1e-4, atol=1e-4)


def test_inside_an_outer_scan(example):
    cell, params, xs, h0 = example

    def chunk(h, xs):
        hs, h = gj.unroll(cell, params, xs, h)
        return h, hs

    chunks = xs.reshape(4, 3, 2, INPUT).swapaxes(0, 1)
    h_last, hs = jax.lax.scan(chunk, h0, chunks)
    whole, whole_last = gj.unroll(cell, params, xs, h0)
    np.testing.assert_allclose(hs.swapaxes(0, 1).reshape(whole.shape), whole, atol=1e-6)
    np.testing.assert_allclose(h_last, whole_last, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_results_have_the_dtype_of_parameters_and_inputs(make_cell, dtype):
    cell = make_cell(dtype=dtype)
    params = cell.init(jax.random.key(0), INPUT)
    chex.assert_trees_all_equal_dtypes(params, jax.tree.map(lambda p: p.astype(dtype), params))
    xs = jax.ShapeDtypeStruct((2, 4, INPUT), dtype)

    def loss(params, xs):
        results = gj.unroll(cell, params, xs, lengths=jnp.array([4, 2]))
        return results[0].astype(jnp.float32).sum(), results

    grads, results = jax.eval_shape(jax.grad(loss, argnums=(0, 1), has_aux=True), params, xs)
    assert {leaf.dtype for leaf in jax.tree.leaves((results, grads))} == {jnp.dtype(dtype)}


@pytest.mark.usefixtures("x64")
def test_float64_throughout(make_cell, rng):
    cell = make_cell(dtype=jnp.float64)
    params, xs, h0 = draw(cell, rng, np.float64)
    hs, h_last = gj.unroll(cell, params, xs, h0)
    chex.assert_trees_all_close(
        (hs, h_last), by_steps(cell, params, xs, h0), rtol=1e-12, atol=1e-14
    )
    assert hs.dtype == h_last.dtype == jnp.float64


def test_half_precision_stays_near_single(make_cell, rng):
    cell = make_cell()
    params, xs, h0 = draw(cell, rng, time=20)
    exact, _ = gj.unroll(cell, params, xs, h0)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, xs, h0))
    hs, _ = gj.unroll(make_cell(dtype=jnp.bfloat16), *half)
    # bfloat16 has 8 bits: inputs and states are off by up to 2^-9 each, amplified by the weights.
    np.testing.assert_allclose(hs.astype(jnp.float32), exact, atol=0.02)


def test_every_product_in_half_precision_asks_for_float32_sums(make_cell, rng):
    """The CPU sums in float32 unasked; other devices need not, so the request itself is checked."""
    cell = make_cell(dtype=jnp.bfloat16)
    params, xs, h0 = draw(cell, rng, jnp.bfloat16)
    fast = cell.fast

    def advance(p, x, h):
        return fast.mix(fast.gates(fast.pack(p, x.shape), fast.project(p, x), h), h)

    for function in (cell.step, advance):
        text = str(jax.make_jaxpr(function)(params, xs[:, 0], h0))
        assert text.count("dot_general[") == text.count("preferred_element_type=float32") >= 2


def test_outside_jit_the_loop_is_compiled_once(make_cell, rng):
    traces = []
    cell = make_cell()

    def mix(gates, h):
        traces.append(1)
        return cell.fast.mix(gates, h)

    counted = cell._replace(fast=cell.fast._replace(mix=mix, gru=None))
    params, xs, h0 = draw(cell, rng)
    gj.unroll(counted, params, xs, h0)
    once = len(traces)
    for scale in (2.0, 3.0):
        gj.unroll(counted, params, scale * xs, h0)
    assert len(traces) == once >= 1


def test_a_second_cell_of_the_same_kind_finds_the_compiled_loop(make_cell, rng):
    params, xs, h0 = draw(make_cell(), rng)
    gj.unroll(make_cell(), params, xs, h0)
    before = compiled_loop._cache_size()
    gj.unroll(make_cell(), params, xs, h0)
    assert compiled_loop._cache_size() == before


@pytest.mark.usefixtures("optimized")
def test_no_weights_are_joined_inside_the_loop(make_cell):
    """The compiled loop's body takes the gates' weights side by side, joined once before it."""
    cell = make_cell()
    params = cell.init(jax.random.key(0), INPUT)
    xs = jnp.ones((4, 6, INPUT))
    text = (
        jax.jit(lambda p, xs: gj.unroll(cell, p, xs, backend="xla"))
        .lower(params, xs)
        .compile()
        .as_text()
    )
    (name,) = set(re.findall(r"body=%?([\w.\-]+)", text))
    body = re.search(rf"^%?{re.escape(name)} .*?^}}", text, re.MULTILINE | re.DOTALL).group()
    assert "dot" in body or "fusion" in body
    assert "concatenate(" not in body
