"""A battery of checks for any cell: `check_cell(cell, input_size)`.

The oracle is a Python loop over `cell.step`, with boundaries as `unroll` documents them. Gradients
are compared with finite differences in float64.
"""

from functools import partial
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from gru_jax.architecture import build
from gru_jax.layers.combine import stack
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import dense
from gru_jax.layers.recurrent import bidirectional, recurrent
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.checks import check_cell as check_kind
from gru_jax.sequence.checks import input_of
from gru_jax.sequence.unroll import unroll
from gru_jax.types import Cell, Key, Params, State

BATCH, TIME, FREE_AXIS = 3, 5, 2


def check_cell(
    cell: Cell, input_size: int, *, key: Key | None = None, atol: float = 1e-5, grads: bool = True
) -> None:
    """Checks that a cell fulfils the contract of `Cell`.

    It checks:

    - shapes with no batch axis, one, and two;
    - `fast` against `step`;
    - `unroll` against a loop over `step`: h0, lengths, holes, resets, both directions, zoneout;
    - that NaN in padding changes nothing;
    - that each shape is traced once;
    - every memory policy, streaming, a bidirectional layer, and the architecture.

    Args:
        cell: the recurrence.
        input_size: the argument of `cell.init`.
        key: draws random parameters, inputs and states; None uses a fixed key.
        atol: tolerance for float32 values, absolute and relative.
        grads: also compare gradients with finite differences. The cell must then run in float64;
            it does if it computes in its parameters' dtype.

    Raises:
        AssertionError: if a check fails; the message says which values differ, and by how much.
        ValueError: if `cell` is not a cell.
    """
    check_kind("check_cell", cell)
    example = _Example(cell, input_size, jax.random.key(0) if key is None else key, atol)
    _check_shapes(example)
    _check_fast(example)
    _check_boundaries(example)
    _check_padding(example)
    _check_traces(example)
    _check_layers(example)
    if grads:
        _check_gradients(example)
    if cell.architecture is not None:
        again = build(cell.architecture)
        chex.assert_trees_all_equal_shapes_and_dtypes(
            example.params, jax.eval_shape(lambda: again.init(jax.random.key(0), input_size))
        )
        close(example, again.step(*example.one_step()), cell.step(*example.one_step()))


class _Example:
    """A cell with random parameters, inputs `[BATCH, TIME, ...]`, and a random state."""

    def __init__(self, cell: Cell, input_size: int, key: Key, atol: float) -> None:
        self.cell, self.input_size, self.atol = cell, input_size, atol
        key_init, key_params, key_x, key_h = jax.random.split(key, 4)
        params = cell.init(key_init, input_size)
        chex.assert_tree_has_only_ndarrays(params)
        self.params = _randomize(key_params, params, 0.5)
        self.shape, self.integers = self._input()
        self.xs = self.draw_xs(key_x, (BATCH, TIME))
        initial = cell.initial_state(params, (BATCH, *self.shape))
        chex.assert_tree_has_only_ndarrays(initial)
        self.h0 = _randomize(key_h, initial, 0.5)
        self.valid = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
        self.resets = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 1]], bool)

    def _input(self) -> tuple[tuple[int, ...], bool]:
        shape, dtype = input_of(self.cell, self.params)
        free = [FREE_AXIS] * (len(shape) - 1) + [self.input_size]
        shape = tuple(
            size or other for size, other in zip(shape, free[-len(shape) :], strict=False)
        )
        return shape, dtype is not None and jnp.issubdtype(dtype, jnp.integer)

    def draw_xs(self, key: Key, steps: tuple[int, ...]) -> Array:
        if self.integers:
            return jax.random.randint(key, (*steps, *self.shape), 0, self.input_size)
        leaves = jax.tree.leaves(self.params)
        return jax.random.normal(
            key, (*steps, *self.shape), leaves[0].dtype if leaves else jnp.float32
        )

    def one_step(self) -> tuple[Params, Array, State]:
        return self.params, self.xs[:, 0], self.h0


def close(example: _Example, actual: PyTree[Any], expected: PyTree[Any]) -> None:
    """Asserts that two trees are equal up to rounding."""
    chex.assert_trees_all_close(actual, expected, atol=example.atol, rtol=example.atol)


def by_steps(
    example: _Example, xs: Array, *, reverse: bool = False, zoneout: float = 0.0, **limits: Any
) -> tuple[PyTree[Array], State]:
    """Returns the expected results of `unroll`, from a compiled Python loop over `step`."""
    loop = partial(_by_steps, example.cell, reverse, zoneout, limits)
    return jax.jit(loop)(example.params, xs, limits.get("h0", example.h0))


def _by_steps(
    cell: Cell,
    reverse: bool,
    zoneout: float,
    limits: dict[str, Any],
    params: Params,
    xs: Array,
    h: State,
) -> tuple[PyTree[Array], State]:
    valid = limits.get("valid", np.ones((BATCH, TIME), bool))
    resets = limits.get("resets", np.zeros((BATCH, TIME), bool)) & valid
    h_reset = limits.get("h_reset", h)
    states: list[Any] = [None] * TIME
    # In reverse, the loop enters a segment at its last valid step, just after it has left a
    # valid step that begins a segment.
    entered = np.zeros(BATCH, bool)
    for t in reversed(range(TIME)) if reverse else range(TIME):
        now = entered & valid[:, t] if reverse else resets[:, t]
        h = _where(now, h_reset, h)
        new = cell.step(params, xs[:, t], h)
        new = jax.tree.map(lambda old, new: zoneout * old + (1 - zoneout) * new, h, new)
        h = _where(valid[:, t], new, h)
        states[t] = _where(valid[:, t], h, jax.tree.map(jnp.zeros_like, h))
        entered = np.where(valid[:, t], resets[:, t], entered)
    return jax.tree.map(lambda *hs: jnp.stack(hs, 1), *states), h


def _where(rows: Any, these: State, those: State) -> State:
    return jax.tree.map(lambda a, b: select(jnp.asarray(rows), a, b), these, those)


def _randomize(key: Key, tree: PyTree[Array], scale: float) -> PyTree[Array]:
    """Returns the tree with noise added to every floating-point array."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    noisy = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        else leaf
        for key, leaf in zip(keys, leaves, strict=False)
    ]
    return jax.tree.unflatten(structure, noisy)


def _check_shapes(example: _Example) -> None:
    cell, params = example.cell, example.params
    for batch in ((), (2,), (2, 3)):
        x = jnp.zeros((*batch, *example.shape), example.xs.dtype)
        h = cell.initial_state(params, x.shape)
        chex.assert_tree_shape_prefix(h, batch)
        chex.assert_trees_all_equal_shapes_and_dtypes(cell.step(params, x, h), h)
    params, x, h = example.one_step()
    rows = [cell.step(params, x[i], jax.tree.map(lambda a, i=i: a[i], h)) for i in range(BATCH)]
    close(example, cell.step(params, x, h), jax.tree.map(lambda *rows: jnp.stack(rows), *rows))


def _check_fast(example: _Example) -> None:
    if (fast := example.cell.fast) is not None:
        assert fast.step == example.cell.step, "cell.fast.step must be cell.step, or is not used"
        params, x, h = example.one_step()
        gates = fast.gates(fast.pack(params), fast.project(params, x), h)
        close(example, fast.mix(gates, h), example.cell.step(params, x, h))


def _check_boundaries(example: _Example) -> None:
    cell, params, xs, h0 = example.cell, example.params, example.xs, example.h0
    valid, resets = example.valid, example.resets
    initial = cell.initial_state(params, xs[:, 0].shape)
    close(example, unroll(cell, params, xs), by_steps(example, xs, h0=initial))
    within = np.arange(TIME) < np.array([[3], [0], [TIME]])
    close(
        example,
        unroll(cell, params, xs, h0, lengths=np.array([3, 0, TIME])),
        by_steps(example, xs, valid=within),
    )
    for reverse, zoneout in ((False, 0.25), (True, 0.0)):
        limits: dict[str, Any] = {"resets": resets, "h_reset": h0, "reverse": reverse}
        actual = unroll(cell, params, xs, initial, mask=valid, zoneout=zoneout, **limits)
        expected = by_steps(example, xs, h0=initial, valid=valid, zoneout=zoneout, **limits)
        close(example, actual, expected)


def _check_padding(example: _Example) -> None:
    cell, params, xs, h0 = example.cell, example.params, example.xs, example.h0
    garbage = jnp.iinfo(xs.dtype).max if example.integers else jnp.nan
    dirty = select(jnp.asarray(example.valid), xs, garbage)

    def loss(params: Params, xs: Array) -> tuple[Array, Any]:
        states, last = unroll(cell, params, xs, h0, mask=example.valid)
        return _total((states, last)), states

    gradient = jax.jit(jax.grad(loss, allow_int=True, has_aux=True))
    close(example, gradient(params, dirty), gradient(params, xs))


def _total(tree: PyTree[Array]) -> Array:
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]
    return sum((jnp.sin(a).sum() for a in leaves), jnp.zeros(()))


def _check_traces(example: _Example) -> None:
    cell, params, xs, h0 = example.cell, example.params, example.xs, example.h0
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(params: Params, xs: Array, h0: State) -> Any:
        return unroll(cell, params, xs, h0)

    close(example, run(params, xs, h0), by_steps(example, xs))
    run(params, xs, h0)


def _check_layers(example: _Example) -> None:
    cell, params, xs, h0 = example.cell, example.params, example.xs, example.h0
    layer = recurrent(cell)
    limits: Any = {"mask": example.valid, "resets": example.resets}
    ys, last = layer.apply(params, xs, h0, **limits)
    state, streamed = h0, []
    for t in range(TIME):
        begins, valid = example.resets[:, t], example.valid[:, t]
        y, state = layer.step(params, xs[:, t], state, begins=begins, valid=valid)
        streamed.append(y)
    close(example, (jnp.stack(streamed, 1), state), (ys, last))
    if not example.integers and len(example.shape) == 1:
        wider = stack(layer, dense(2))
        start = wider.init(jax.random.key(2), example.input_size)
        assert wider.apply(start, xs)[0].shape == (BATCH, TIME, 2)
    both: Layer = bidirectional(cell)
    pair = jax.tree.map(lambda a: a, both.init(jax.random.key(1), example.input_size))
    ys_both, _ = both.apply(pair, xs, **limits)
    ahead, _ = layer.apply(pair.forward, xs, **limits)
    back, _ = recurrent(cell, reverse=True).apply(pair.backward, xs, **limits)
    close(example, ys_both, jnp.concatenate([ahead, back], -1))


def _check_gradients(example: _Example) -> None:
    with jax.enable_x64(True):
        cell = example.cell
        limits: Any = {"mask": example.valid, "resets": example.resets}
        xs = _widen(example.xs)
        moving = example.params, example.h0, () if example.integers else example.xs
        flat, unravel = ravel_pytree(_widen(moving))

        def loss(flat: Array, memory: Literal["gates", "states", "chunked"]) -> Array:
            params, h0, moved = unravel(flat)
            states, last = unroll(
                cell,
                params,
                xs if example.integers else moved,
                h0,
                **limits,
                memory=memory,
                chunk_size=2,
            )
            return _total((states, last))

        plain = jax.jit(partial(loss, memory="gates"))
        # chex multiplies atol by the number of values, because it compares their sum.
        chex.assert_numerical_grads(plain, (flat,), order=1, atol=1e-7, rtol=1e-6, eps=1e-5)
        expected = jax.grad(plain)(flat)
        for memory in ("states", "chunked"):
            actual = jax.jit(jax.grad(partial(loss, memory=memory)))(flat)
            chex.assert_trees_all_close(actual, expected, atol=1e-9, rtol=1e-9)


def _widen(tree: PyTree[Array]) -> PyTree[Array]:
    """Returns the tree with its numbers in float64."""
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )
