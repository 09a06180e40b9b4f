"""Every transform over calls that have batch axes of their own is a plain loop over examples.

    vmap(unroll)(params, xs [mapped, *batch, time, input])  ==  [[unroll(params, x) for x in ...]]

The oracle calls `unroll` on one sequence at a time: no batch axis, no map, XLA's loops.
"""

import itertools
import random
from functools import lru_cache
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

GROUPS = 2, 3  # of examples, for a map of a map
MAPPED, TIME, INPUT, HIDDEN = 6, 5, 4, 7
ARGUMENTS = ("params", "xs", "h0", "lengths", "resets")
TRANSFORMS = ("grad of vmap", "vmap of grad", "jvp of vmap", "grad of vmap of vmap")
MEMORIES = {
    "default": {},
    "gates": {"memory": "gates"},
    "states": {"memory": "states"},
    "states-2": {"memory": "states", "chunk_size": 2},
    "chunked": {"memory": "chunked"},
    "chunked-2": {"memory": "chunked", "chunk_size": 2},
    "chunked-5": {"memory": "chunked", "chunk_size": 5},
}
"""Of five steps, two are a chunk that does not divide them."""


class Case(NamedTuple):
    """A transform of a call."""

    backend: str = "cpu"
    memory: str = "states"
    form: str = "before"
    time_axis: int = -2
    mapped: str = "xs"
    in_axis: int = 0
    out_axes: tuple[int, int] = (0, 0)
    transform: str = "grad of vmap"
    jit: str = "none"
    batch: tuple[int, ...] = (3,)
    bounds: str = ""


CORNERS = [
    *(Case(memory=memory) for memory in MEMORIES),
    Case(backend="xla"),
    Case(form="after"),
    Case(time_axis=0),
    Case(form="after", time_axis=0, memory="chunked"),
    *(Case(mapped=mapped, memory="chunked") for mapped in ("params", "h0", "xs h0", "params xs")),
    *(Case(mapped=bounds, bounds=bounds, form="after") for bounds in ("lengths", "resets")),
    *(Case(bounds=bounds, memory="chunked-2") for bounds in ("lengths", "resets")),
    Case(mapped="params xs h0 lengths resets", bounds="lengths resets", memory="chunked-2"),
    Case(in_axis=1),
    Case(out_axes=(1, 1), memory="chunked"),
    *(Case(transform=transform) for transform in TRANSFORMS[1:]),
    *(Case(jit=jit) for jit in ("inside", "outside")),
    *(Case(batch=batch, time_axis=axis) for batch, axis in (((), -2), ((2, 2), 1), ((2, 2), -2))),
    Case(batch=(MAPPED,)),  # Where sizes agree, an axis mistaken for another raises nothing.
]
SPACE = Case(
    backend=("cpu", "xla"),
    memory=tuple(MEMORIES),
    form=("before", "after"),
    time_axis=(-2, 0),
    mapped=("xs", "h0", "xs h0", "params", "params xs"),
    in_axis=(0, 1, -1),
    out_axes=tuple(itertools.product((0, 1, -1), (0, 1, -1))),
    transform=TRANSFORMS,
    jit=("none", "inside", "outside"),
    batch=((3,), (4, 2)),
    bounds=("", "", "resets", "lengths resets"),
)
DRAW = random.Random(0)
MORE = [
    Case(in_axis=-1),
    Case(out_axes=(-1, 0), memory="chunked"),
    *(Case(transform=transform, memory="chunked-2", time_axis=0) for transform in TRANSFORMS),
    *(Case(*map(DRAW.choice, SPACE)) for _ in range(18)),
]
SLOW = pytest.mark.slow("compiles loops in loops")
CASES = [*CORNERS, *(pytest.param(case, marks=SLOW) for case in MORE if case not in CORNERS)]


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    """Each program runs once, so compiling is what takes time: XLA is told not to try hard."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)


@lru_cache
def draw(form, mapped, batch, bounds, seed=0):
    """Returns arguments by name, with an axis of examples in front of those that are mapped.

    Boundaries that a case is without are there for the plain loop, and mean nothing.
    """
    rng = np.random.default_rng(seed)

    def normal(name, *shape):
        front = (MAPPED,) * (name in mapped.split())
        return jnp.asarray(rng.normal(0, 0.7, (*front, *shape)), jnp.float32)

    shapes = jax.eval_shape(lambda: gj.gru(HIDDEN, reset=form).init(jax.random.key(0), INPUT))
    values = {
        "params": jax.tree.map(lambda leaf: normal("params", *leaf.shape), shapes),
        "xs": normal("xs", *batch, TIME, INPUT),
        "h0": normal("h0", *batch, HIDDEN),
        "lengths": (TIME + 1) * abs(normal("lengths", *batch)),
        "resets": normal("resets", *batch, TIME),
    }
    lengths = jnp.minimum(values["lengths"].astype(jnp.int32), TIME)
    resets = values["resets"] > 0.5
    return values | {
        "lengths": lengths if "lengths" in bounds else jnp.full_like(lengths, TIME),
        "resets": resets if "resets" in bounds else jnp.zeros_like(resets),
    }


@lru_cache
def compile_one(form):
    """Returns `(values, tangents, weights) -> (outputs, their tangents, gradients)` of one row."""
    cell = gj.gru(HIDDEN, reset=form)

    def one(values, tangents, weights):
        *moving, length, resets = values

        def outputs(params, xs, h0):
            bounds = {"lengths": length, "resets": resets}
            return gj.unroll(cell, params, xs, h0, backend="xla", memory="gates", **bounds)

        def loss(*moving):
            return weigh(outputs(*moving), weights)

        results = jax.jvp(outputs, tuple(moving), tangents)
        return *results, jax.grad(loss, argnums=(0, 1, 2))(*moving)

    return jax.jit(one)


def weigh(outputs, weights):
    """Returns a loss with a slope of its own in every number."""
    return sum((w * a).sum() for w, a in zip(weights, outputs, strict=True))


@lru_cache
def loop(form, mapped, batch, bounds):
    """Returns outputs, tangents and gradients, [mapped, *batch, ...] each, and what went in."""
    weights = np.random.default_rng(1)
    weights = [
        weights.normal(size=(MAPPED, *batch, *shape)).astype(np.float32)
        for shape in ((TIME, HIDDEN), (HIDDEN,))
    ]
    values, tangents = (list(draw(form, mapped, batch, bounds, seed).values()) for seed in (0, 2))
    tangents = tangents[:3]
    moves = [name in mapped.split() for name in ARGUMENTS]
    one, results = compile_one(form), []
    for i, row in itertools.product(range(MAPPED), np.ndindex(batch)):

        def pick(arguments, i=i, row=row):
            """Returns the arguments of one row; parameters have no rows."""
            pairs = zip(arguments, moves, strict=False)
            params, *own = (jax.tree.map(lambda a: a[i], a) if m else a for a, m in pairs)
            return [params, *(a[row] for a in own)]

        picked = pick(tangents)
        results.append(one(pick(values), tuple(picked), [w[i][row] for w in weights]))
    stacked = jax.tree.map(lambda *a: np.stack(a).reshape(MAPPED, *batch, *a[0].shape), *results)
    return values, tangents, weights, *stacked


def expected(case):
    """Returns the plain loop's outputs, and its tangents or its gradients as the transform's."""
    _, _, _, outputs, tangents, gradients = loop(case.form, case.mapped, case.batch, case.bounds)
    if case.transform == "jvp of vmap":
        return outputs, tangents
    d_params, *others = gradients
    rows = tuple(range(1, 1 + len(case.batch)))
    gradients = [jax.tree.map(lambda a: a.sum(rows), d_params), *others]
    if case.transform != "vmap of grad":  # what is shared has the sum over all examples
        for i, name in enumerate(ARGUMENTS[:3]):
            if name not in case.mapped.split():
                gradients[i] = jax.tree.map(lambda a: a.sum(0), gradients[i])
    return outputs, tuple(gradients)


def move(tree, source, target):
    return jax.tree.map(lambda a: jnp.moveaxis(a, source, target), tree)


def transformed(case):
    """Returns the transform's outputs, and its tangents or gradients, examples in front."""
    values, tangents, weights, *_ = loop(case.form, case.mapped, case.batch, case.bounds)
    cell, names = gj.gru(HIDDEN, reset=case.form), case.mapped.split()
    front = case.time_axis % (len(case.batch) + 2)

    def call(params, xs, h0, lengths, resets):
        xs, resets = (jnp.moveaxis(a, len(case.batch), front) for a in (xs, resets))
        bounds = {"lengths": lengths, "resets": resets}
        bounds = {name: a for name, a in bounds.items() if name in case.bounds}
        ways = {"time_axis": case.time_axis, "backend": case.backend, **MEMORIES[case.memory]}
        hs, h_last = gj.unroll(cell, params, xs, h0, **bounds, **ways)
        return jnp.moveaxis(hs, front, len(case.batch)), h_last

    call = jax.jit(call) if case.jit == "inside" else call
    axes = [case.in_axis if name in names else None for name in ARGUMENTS]
    shapes = (*case.batch, TIME, HIDDEN), (*case.batch, HIDDEN)

    def given(arguments, front=0):
        """Moves the mapped axis, behind others in front, to where the map takes it."""
        return [
            a if axis is None else move(a, front, axis + front if axis >= 0 else axis)
            for a, axis in zip(arguments, axes, strict=False)
        ]

    def mapped(*arguments):
        if case.transform == "grad of vmap of vmap":
            groups = [
                a if axis is None else jax.tree.map(lambda a: a.reshape(*GROUPS, *a.shape[1:]), a)
                for a, axis in zip(arguments, axes, strict=True)
            ]
            inner = jax.vmap(call, axes, case.out_axes)
            outer = jax.vmap(inner, [None if axis is None else 0 for axis in axes])
            results = outer(*given(groups, front=1))
            return tuple(
                move(a, axis + 1 if axis >= 0 else axis, 1).reshape(MAPPED, *shape)
                for a, axis, shape in zip(results, case.out_axes, shapes, strict=True)
            )
        results = jax.vmap(call, axes, case.out_axes)(*given(arguments))
        return tuple(move(a, axis, 0) for a, axis in zip(results, case.out_axes, strict=True))

    *moving, lengths, resets = values

    def loss(*moving):
        outputs = mapped(*moving, lengths, resets)
        return weigh(outputs, weights), outputs

    def each_loss(params, xs, h0, lengths, resets, *weights):
        outputs = call(params, xs, h0, lengths, resets)
        return weigh(outputs, weights), outputs

    def run(*moving):
        if case.transform == "jvp of vmap":
            return jax.jvp(lambda *a: mapped(*a, lengths, resets), moving, tuple(tangents))
        if case.transform == "vmap of grad":
            gradient = jax.grad(each_loss, argnums=(0, 1, 2), has_aux=True)
            each = jax.vmap(gradient, (*axes, 0, 0))
            gradients, outputs = each(*given((*moving, lengths, resets)), *weights)
        else:
            gradients, outputs = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*moving)
        return outputs, gradients

    return (jax.jit(run) if case.jit == "outside" else run)(*moving)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_transform_is_a_plain_loop_over_examples(case):
    # Float32 sums of up to 75 steps of 7 units in another order.
    chex.assert_trees_all_close(transformed(case), expected(case), rtol=1e-4, atol=1e-4)
