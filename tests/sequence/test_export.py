"""`jax.export` for any batch and time, with every boundary.

    export(unroll)(xs [b, t, input]).call(xs)  ==  [unroll(x) for x in xs]

One exported program is called with arrays of two sizes; the oracle runs one sequence at a time.
"""

import itertools
from functools import lru_cache

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

INPUT, HIDDEN, CLASSES = 3, 4, 2
CLIP = {"before": None, "after": 0.2}
SIZES = (2, 5), (3, 7)
EVERY = ("lengths", "mask", "resets")
MEMORIES = (None, "gates", "states", "chunked")
CASES = [
    *itertools.product(["before"], MEMORIES, [EVERY]),
    ("after", "gates", EVERY),
    ("after", "chunked", ("lengths",)),
]
MORE = [
    *itertools.product(["before"], MEMORIES, [("lengths",)]),
    *itertools.product(["before"], ["gates"], [("mask",), ("resets",)]),
    ("after", "chunked", EVERY),
]
SLOW = pytest.mark.slow("compiles loops in loops")


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    """Each program runs once, so compiling is what takes time: XLA is told not to try hard."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)


def draw(names, size, seed=0):
    """Returns xs and the boundaries by name."""
    rng, (batch, time) = np.random.default_rng(seed), size
    values = {
        "lengths": jnp.asarray(rng.integers(0, time + 1, batch), jnp.int32),
        "mask": jnp.asarray(rng.random(size) < 0.8),
        "resets": jnp.asarray(rng.random(size) < 0.3),
    }
    xs = jnp.asarray(rng.normal(size=(*size, INPUT)), jnp.float32)
    return xs, {name: values[name] for name in names}


def export(function, params, names):
    """Exports a function of params, xs and boundaries for any batch and time."""
    b, t = jax.export.symbolic_shape("b, t")
    shapes = {"lengths": ((b,), jnp.int32), "mask": ((b, t), bool), "resets": ((b, t), bool)}
    bounds = {name: jax.ShapeDtypeStruct(*shapes[name]) for name in names}
    xs = jax.ShapeDtypeStruct((b, t, INPUT), jnp.float32)
    exported = jax.export.export(jax.jit(function))(params, xs, bounds)
    return jax.export.deserialize(exported.serialize())


def loss(outputs):
    """Returns a sum over all rows."""
    return sum((a**2).sum() for a in outputs)


@lru_cache
def compile_one(form):
    """Returns `(params, x, bounds) -> outputs, gradients` of one sequence, by XLA's loop."""
    cell = gj.gru(HIDDEN, reset=form, clip=CLIP[form])

    def one(params, x, bounds):
        return gj.unroll(cell, params, x, backend="xla", memory="gates", **bounds)

    def gradient(*args):
        return jax.grad(lambda *args: loss(one(*args)), argnums=(0, 1))(*args)

    return jax.jit(lambda *args: (one(*args), gradient(*args)))


def rows(one, params, xs, bounds):
    """Returns results of each sequence by itself, stacked."""
    each = [
        one(params, x, {name: a[row] for name, a in bounds.items()}) for row, x in enumerate(xs)
    ]
    return jax.tree.map(lambda *a: np.stack(a), *each)


@pytest.mark.parametrize(
    ("form", "memory", "names"), [*CASES, *(pytest.param(*case, marks=SLOW) for case in MORE)]
)
def test_a_program_for_any_size_is_a_plain_loop(form, memory, names):
    cell = gj.gru(HIDDEN, reset=form, clip=CLIP[form])
    params = cell.init(jax.random.key(0), INPUT)

    def program(params, xs, bounds):
        def run(params, xs):
            outputs = gj.unroll(cell, params, xs, memory=memory, **bounds)
            return loss(outputs), outputs

        gradients, outputs = jax.grad(run, argnums=(0, 1), has_aux=True)(params, xs)
        return outputs, gradients

    exported = export(program, params, names)
    for size in SIZES:
        xs, bounds = draw(names, size)
        outputs, (d_params, d_xs) = rows(compile_one(form), params, xs, bounds)
        d_params = jax.tree.map(lambda a: a.sum(0), d_params)
        found = exported.call(params, xs, bounds)
        chex.assert_trees_all_close(found, (outputs, (d_params, d_xs)), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "kind", [pytest.param("max", marks=SLOW), "mean", pytest.param("last", marks=SLOW)]
)
@pytest.mark.parametrize("names", [("lengths",), ("mask", "resets")])
def test_a_net_for_any_size_is_a_plain_loop(kind, names):
    cells = gj.gru(HIDDEN), gj.gru(HIDDEN, reset="after")
    net = gj.stack(*(gj.bidirectional(cell) for cell in cells), gj.pool(kind), gj.dense(CLASSES))
    one_at_a_time = gj.stack(
        *(gj.bidirectional(cell, backend="xla", memory="gates") for cell in cells),
        gj.pool(kind),
        gj.dense(CLASSES),
    )
    params = net.init(jax.random.key(0), INPUT)
    exported = export(lambda params, xs, bounds: net.apply(params, xs, **bounds)[0], params, names)
    one = jax.jit(lambda params, x, bounds: one_at_a_time.apply(params, x, **bounds)[0])
    for size in SIZES:
        xs, bounds = draw(names, size)
        expected = rows(one, params, xs, bounds)
        chex.assert_trees_all_close(exported.call(params, xs, bounds), expected, atol=1e-5)


@pytest.mark.parametrize("names", [("lengths",), ("mask", "resets")])
def test_a_trace_for_any_size_is_a_plain_loop(names):
    cell = gj.gru(HIDDEN)
    params = cell.init(jax.random.key(0), INPUT)
    exported = export(lambda p, xs, bounds: gj.trace(cell, p, xs, **bounds), params, names)
    one = jax.jit(lambda p, x, bounds: gj.trace(cell, p, x, backend="xla", **bounds))
    for size in SIZES:
        xs, bounds = draw(names, size)
        expected = rows(one, params, xs, bounds)
        chex.assert_trees_all_close(exported.call(params, xs, bounds), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (gj.gru(HIDDEN), (INPUT,)),
        (gj.block_gru(HIDDEN, 2), (INPUT,)),
        (gj.gru_d(HIDDEN), (3 * INPUT,)),
        (gj.mgu(HIDDEN), (INPUT,)),
        (gj.lstm(HIDDEN), (INPUT,)),
        (gj.min_gru(HIDDEN), (INPUT,)),
        (gj.conv_gru(HIDDEN), (5, 6, INPUT)),
    ],
    ids=str,
)
def test_the_trace_of_a_cell_with_its_own_gates_can_be_stored(cell, shape):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), shape[-1]))
    xs = jax.ShapeDtypeStruct((2, 4, *shape), jnp.float32)
    exported = jax.export.export(jax.jit(lambda p, xs: gj.trace(cell, p, xs)))(params, xs)
    again = jax.export.deserialize(exported.serialize())
    trace = jax.tree.unflatten(again.out_tree, again.out_avals)
    assert isinstance(trace, gj.Trace)
    expected = jax.eval_shape(lambda p, xs: gj.trace(cell, p, xs), params, xs)
    chex.assert_trees_all_equal_shapes_and_dtypes(trace, expected)


def test_lengths_of_a_small_type_and_any_time():
    cell = gj.gru(HIDDEN)
    params = cell.init(jax.random.key(0), INPUT)
    (t,) = jax.export.symbolic_shape("t")
    shapes = (
        jax.ShapeDtypeStruct((2, t, INPUT), jnp.float32),
        jax.ShapeDtypeStruct((2,), jnp.uint8),
    )
    program = jax.jit(lambda xs, lengths: gj.unroll(cell, params, xs, lengths=lengths))
    exported = jax.export.export(program)(*shapes)
    for time in (5, 300):  # more steps than uint8 can count
        xs, _ = draw((), (2, time))
        lengths = np.array([3, 255], np.uint8)
        expected = [
            gj.unroll(cell, params, x[: int(n)], backend="xla", memory="gates")[1]
            for x, n in zip(xs, lengths, strict=True)
        ]
        chex.assert_trees_all_close(exported.call(xs, lengths)[1], np.stack(expected), atol=1e-5)
