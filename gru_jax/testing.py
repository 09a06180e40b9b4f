"""Checks for any cell: `check_cell(cell, input_size)`.

The oracle is a Python loop over `cell.step`, with padding and resets as `unroll` documents them.
Gradients are compared with finite differences in float64.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from gru_jax.architecture import build
from gru_jax.layers.combine import stack
from gru_jax.layers.pointwise import dense
from gru_jax.layers.recurrent import bidirectional, recurrent
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.checks import check_cell as check_kind
from gru_jax.sequence.checks import input_of
from gru_jax.sequence.unroll import unroll
from gru_jax.types import Cell, Key, Params, State

BATCH, TIME, FREE_AXIS = 3, 5, 2
EVERY = np.ones((BATCH, TIME), bool)
VALID = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
RESETS = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 1]], bool)

Close: TypeAlias = Callable[[PyTree[Any], PyTree[Any]], None]
"""Asserts that two trees are equal up to rounding."""


def check_cell(
    cell: Cell, input_size: int, *, key: Key | None = None, atol: float = 1e-5, grads: bool = True
) -> None:
    """Checks that a cell satisfies the contract of `Cell`.

    It checks:

    - shapes with no batch axis, one, and two;
    - `fast` against `step`;
    - `unroll` against a loop over `step`: h0, lengths, mask, resets, both directions, zoneout;
    - that NaN in padding changes nothing;
    - that each shape is traced once;
    - every memory policy, streaming, a bidirectional layer, and the architecture.

    Args:
        cell: the recurrence.
        input_size: the argument of `cell.init`.
        key: for random parameters, inputs and states; None uses a fixed key.
        atol: tolerance for float32 values, absolute and relative.
        grads: whether to compare gradients with finite differences, too. The cell must then run
            in float64, as it does if it computes in its parameters' dtype.

    Raises:
        AssertionError: if a check fails; the message says which values differ and by how much, and
            a note what was checked.
        ValueError: if `cell` is not a cell.
    """
    check_kind("check_cell", cell)
    key = jax.random.key(0) if key is None else key
    params, xs, h0 = _draw_example(cell, input_size, key)
    close = partial(chex.assert_trees_all_close, atol=atol, rtol=atol)
    for check, promise in PROMISES.items():
        with _expect(promise):
            check(cell, params, xs, h0, close)
    with _expect("layers must give what a loop over step gives, in both directions and streamed"):
        _check_layers(cell, params, xs, h0, close, input_size)
    if grads:
        with _expect("gradients must be those of finite differences, in float64"):
            _check_gradients(cell, params, xs, h0)
    if cell.architecture is not None:
        again = build(cell.architecture)
        drawn = jax.eval_shape(lambda: again.init(key, input_size))
        chex.assert_trees_all_equal_shapes_and_dtypes(params, drawn)
        close(again.step(params, xs[:, 0], h0), cell.step(params, xs[:, 0], h0))


@contextlib.contextmanager
def _expect(promise: str) -> Iterator[None]:
    """Adds the promise to the notes of an error."""
    try:
        yield
    except Exception as error:
        error.add_note(f"check_cell: {promise}.")
        raise


def _draw_example(cell: Cell, input_size: int, key: Key) -> tuple[Params, Array, State]:
    """Returns random parameters, inputs `[BATCH, TIME, ...]`, and a random state."""
    key_init, key_params, key_x, key_h = jax.random.split(key, 4)
    params = cell.init(key_init, input_size)
    chex.assert_tree_has_only_ndarrays(params)
    params = _add_noise(key_params, params)
    sizes, dtype = input_of(cell, params)
    shape = [size or FREE_AXIS for size in sizes]
    if sizes and sizes[-1] is None:
        shape[-1] = input_size
    if dtype is not None and jnp.issubdtype(dtype, jnp.integer):
        xs = jax.random.randint(key_x, (BATCH, TIME, *shape), 0, input_size)
    else:
        leaves = jax.tree.leaves(params)
        dtype = leaves[0].dtype if leaves else jnp.float32
        xs = jax.random.normal(key_x, (BATCH, TIME, *shape), dtype)
    h0 = cell.initial_state(params, (BATCH, *shape))
    chex.assert_tree_has_only_ndarrays(h0)
    return params, xs, _add_noise(key_h, h0)


def _add_noise(key: Key, tree: PyTree[Array]) -> PyTree[Array]:
    """Returns the tree with noise added to every floating-point array."""

    def add(leaf: Array, key: Key) -> Array:
        if not _is_floating(leaf):
            return leaf
        return leaf + 0.5 * jax.random.normal(key, leaf.shape, leaf.dtype)

    return jax.tree.map(add, tree, optax.tree.split_key_like(key, tree))


def _is_floating(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _by_steps(
    cell: Cell,
    params: Params,
    xs: Array,
    h0: State,
    *,
    valid: np.ndarray = EVERY,
    resets: np.ndarray = ~EVERY,
    h_reset: State | None = None,
    reverse: bool = False,
    zoneout: float = 0.0,
) -> tuple[PyTree[Array], State]:
    """Returns the expected results of `unroll`, from a compiled Python loop over `step`."""
    h_reset, begins = h0 if h_reset is None else h_reset, resets & valid

    def hold(old: Array, new: Array) -> Array:
        return zoneout * old + (1 - zoneout) * new if _is_floating(new) else new

    @jax.jit
    def loop(params: Params, xs: Array, h: State) -> tuple[PyTree[Array], State]:
        states: list[Any] = [None] * TIME
        # In reverse, the loop enters a segment at its last valid step, just after the valid step
        # that begins the next segment.
        entered = np.zeros(BATCH, bool)
        for t in reversed(range(TIME)) if reverse else range(TIME):
            h = _where(entered & valid[:, t] if reverse else begins[:, t], h_reset, h)
            new = cell.step(params, xs[:, t], h)
            new = jax.tree.map(hold, h, new)
            h = _where(valid[:, t], new, h)
            states[t] = _where(valid[:, t], h, jax.tree.map(jnp.zeros_like, h))
            entered = np.where(valid[:, t], begins[:, t], entered)
        return jax.tree.map(lambda *hs: jnp.stack(hs, 1), *states), h

    return loop(params, xs, h0)


def _where(rows: Any, these: State, those: State) -> State:
    return jax.tree.map(lambda a, b: select(jnp.asarray(rows), a, b), these, those)


def _check_shapes(cell: Cell, params: Params, xs: Array, h0: State, close: Close) -> None:
    for batch in ((), (2,), (2, 3)):
        x = jnp.zeros((*batch, *xs.shape[2:]), xs.dtype)
        h = cell.initial_state(params, x.shape)
        chex.assert_tree_shape_prefix(h, batch)
        chex.assert_trees_all_equal_shapes_and_dtypes(cell.step(params, x, h), h)
    x, h = xs[:, 0], h0
    rows = [cell.step(params, x[i], jax.tree.map(lambda a, i=i: a[i], h)) for i in range(BATCH)]
    close(cell.step(params, x, h), jax.tree.map(lambda *rows: jnp.stack(rows), *rows))


def _check_fast(cell: Cell, params: Params, xs: Array, h0: State, close: Close) -> None:
    if (fast := cell.fast) is not None:
        assert fast.step == cell.step, "cell.fast.step must be cell.step, or is not used"
        gates = fast.gates(fast.pack(params, xs[:, 0].shape), fast.project(params, xs[:, 0]), h0)
        close(fast.mix(gates, h0), cell.step(params, xs[:, 0], h0))


def _check_boundaries(cell: Cell, params: Params, xs: Array, h0: State, close: Close) -> None:
    initial = cell.initial_state(params, xs[:, 0].shape)
    close(unroll(cell, params, xs), _by_steps(cell, params, xs, initial))
    lengths = np.array([3, 0, TIME])
    actual = unroll(cell, params, xs, h0, lengths=lengths)
    close(actual, _by_steps(cell, params, xs, h0, valid=np.arange(TIME) < lengths[:, None]))
    rate = 0.25 if cell.fast is None or cell.fast.noise else 0.0
    for reverse, zoneout in ((False, rate), (True, 0.0)):
        options: Any = {"resets": RESETS, "h_reset": h0, "reverse": reverse, "zoneout": zoneout}
        actual = unroll(cell, params, xs, initial, mask=VALID, **options)
        close(actual, _by_steps(cell, params, xs, initial, valid=VALID, **options))


def _check_padding(cell: Cell, params: Params, xs: Array, h0: State, close: Close) -> None:
    garbage = jnp.nan if _is_floating(xs) else jnp.iinfo(xs.dtype).max
    dirty = select(jnp.asarray(VALID), xs, garbage)

    def loss(params: Params, xs: Array) -> tuple[Array, Any]:
        states, last = unroll(cell, params, xs, h0, mask=VALID)
        return _total((states, last)), states

    gradient = jax.jit(jax.grad(loss, allow_int=True, has_aux=True))
    actual = gradient(params, dirty)
    chex.assert_tree_all_finite([leaf for leaf in jax.tree.leaves(actual) if _is_floating(leaf)])
    close(actual, gradient(params, xs))


def _total(tree: PyTree[Array]) -> Array:
    leaves = filter(_is_floating, jax.tree.leaves(tree))
    return sum((jnp.sin(leaf).sum() for leaf in leaves), jnp.zeros(()))


def _check_traces(cell: Cell, params: Params, xs: Array, h0: State, close: Close) -> None:
    chex.clear_trace_counter()
    run = jax.jit(chex.assert_max_traces(lambda *args: unroll(cell, *args), n=1))
    close(run(params, xs, h0), _by_steps(cell, params, xs, h0))
    run(params, xs, h0)


PROMISES = {
    _check_shapes: "step must keep the state's shapes and dtypes, and treat each row by itself",
    _check_fast: "fast must give what step gives",
    _check_boundaries: "unroll must be a loop over step",
    _check_padding: "padding must change no state and no gradient, and make none infinite",
    _check_traces: "each shape must be traced once",
}
"""What each check holds the cell to."""


def _check_layers(
    cell: Cell, params: Params, xs: Array, h0: State, close: Close, input_size: int
) -> None:
    layer = recurrent(cell)
    limits: Any = {"mask": VALID, "resets": RESETS}
    ys, last = layer.apply(params, xs, h0, **limits)
    state, streamed = h0, []
    for t in range(TIME):
        y, state = layer.step(params, xs[:, t], state, begins=RESETS[:, t], valid=VALID[:, t])
        streamed.append(y)
    close((jnp.stack(streamed, 1), state), (ys, last))
    if _is_floating(xs) and xs.ndim == 3:
        wider = stack(layer, dense(2))
        start = wider.init(jax.random.key(2), input_size)
        assert wider.apply(start, xs)[0].shape == (BATCH, TIME, 2)
    both = bidirectional(cell)
    pair = both.init(jax.random.key(1), input_size)
    ys_both, _ = both.apply(pair, xs, **limits)
    ahead, _ = layer.apply(pair.forward, xs, **limits)
    back, _ = recurrent(cell, reverse=True).apply(pair.backward, xs, **limits)
    close(ys_both, jnp.concatenate([ahead, back], -1))


def _check_gradients(cell: Cell, params: Params, xs: Array, h0: State) -> None:
    with jax.enable_x64(True):
        params, xs, h0 = jax.tree.map(
            lambda a: a.astype(jnp.float64) if _is_floating(a) else a, (params, xs, h0)
        )
        # Integers have no gradient.
        flat, unravel = ravel_pytree((params, h0, xs if _is_floating(xs) else ()))
        options: Any = {"mask": VALID, "resets": RESETS, "chunk_size": 2}

        def loss(flat: Array, memory: Any) -> Array:
            params, h0, moved = unravel(flat)
            inputs = moved if _is_floating(xs) else xs
            return _total(unroll(cell, params, inputs, h0, memory=memory, **options))

        plain = jax.jit(partial(loss, memory="gates"))
        # chex multiplies atol by the number of values, because it compares their sum.
        chex.assert_numerical_grads(plain, (flat,), order=1, atol=1e-7, rtol=1e-6, eps=1e-5)
        expected = jax.grad(plain)(flat)
        for memory in ("states", "chunked"):
            actual = jax.jit(jax.grad(partial(loss, memory=memory)))(flat)
            chex.assert_trees_all_close(actual, expected, atol=1e-9, rtol=1e-9)
