"""A cell over time: boundaries, direction, scan.

    xs --project--> drive --scan(advance)--> hs

The product with the inputs is done for all steps at once, before the loop; the loop carries the
state alone. A padded step leaves the state as it was and its output is zero. Direction needs no
flipping: a scan in reverse meets the padding first and carries h0 through it.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree

from gru_jax.types import ArrayLike, Cell, Params, Shape, State


def unroll(
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    reverse: bool = False,
    time_axis: int = -2,
    unroll: int = 1,
) -> tuple[PyTree[Float[Array, "*batch time hidden"]], State]:
    """Runs a cell over sequences.

    What stands in padded steps, NaN and inf included, changes no result and no gradient. Under
    `jit` the cell is closed over: `jax.jit(lambda params, xs: unroll(cell, params, xs))`.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        params: its parameters, from `cell.init`.
        xs: the inputs; no batch axis, one, or several.
        h0: the state before the first step; None is the cell's initial state.
        lengths: steps at and after a sequence's length are padding; None is no padding, and so is
            a length of `time` or more.
        mask: False steps are padding, wherever they stand. With `lengths`, both apply.
        reverse: run from the last step to the first; outputs stay in input order.
        time_axis: where time stands in `xs`, in `mask` and in the outputs: 0 is time-major.
        unroll: steps in one turn of the compiled loop.

    Returns:
        `(hs, h_last)`: the state after each step, zero in padded ones, and the state after the
        last valid step in the direction of travel, which is `h0` where there is none.

    Raises:
        ValueError: if shapes or dtypes do not fit each other.
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"unroll: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}.")
    xs = jnp.asarray(xs)
    if unroll < 1:
        raise ValueError(f"unroll: unroll must be 1 or more, got {unroll}.")
    steps = _check_inputs(cell, params, xs)
    axis = _check_time_axis(time_axis, xs, len(steps))
    x_shape = xs.shape[:axis] + xs.shape[axis + 1 :]
    h0 = cell.initial_state(params, x_shape) if h0 is None else h0
    _check_state(cell, params, x_shape, h0)
    valid = valid_steps("unroll", steps, axis, lengths, mask)
    static = {"time_axis": axis, "reverse": reverse, "turns": unroll}
    return _unroll(cell.project, cell.advance, params, xs, h0, valid, **static)


# Compiled here too, so that a call outside jit does not trace its loop afresh each time; by the
# cell's functions rather than the cell, so that a second `gru(64)` finds the first one's program.
@partial(
    jax.jit,
    static_argnames=("project", "advance", "time_axis", "reverse", "turns"),
    inline=True,
)
def _unroll(
    project: Callable[[Params, Array], PyTree[Array]],
    advance: Callable[[Params, PyTree[Array], State], State],
    params: Params,
    xs: Array,
    h0: State,
    valid: Array | None,
    *,
    time_axis: int,
    reverse: bool,
    turns: int,
) -> tuple[PyTree[Array], State]:
    xs = jnp.moveaxis(xs, time_axis, 0)
    valid = None if valid is None else jnp.moveaxis(valid, time_axis, 0)
    if valid is not None:
        # Before the product, so that garbage reaches neither the drive nor the weights' gradient.
        xs = select(valid, xs, 0)

    def body(h: State, inputs: tuple[PyTree[Array], Array | None]) -> tuple[State, State]:
        drive_t, valid_t = inputs
        h_next = advance(params, drive_t, h)
        if valid_t is not None:
            h_next = jax.tree.map(partial(select, valid_t), h_next, h)
        return h_next, h_next

    drive = project(params, xs)
    h_last, hs = jax.lax.scan(body, h0, (drive, valid), reverse=reverse, unroll=turns)
    if valid is not None:
        hs = jax.tree.map(lambda h: select(valid, h, 0), hs)
    return jax.tree.map(lambda h: jnp.moveaxis(h, 0, time_axis), hs), h_last


def select(valid: Bool[Array, "..."], kept: Array, instead: Array | float) -> Array:
    """Returns `kept` where `valid`, which has its leading axes, is True; else `instead`."""
    axes = tuple(range(valid.ndim))
    return jnp.where(jax.lax.broadcast_in_dim(valid, kept.shape, axes), kept, instead)


def valid_steps(
    function: str, steps: Shape, axis: int, lengths: ArrayLike | None, mask: ArrayLike | None
) -> Bool[Array, "*batch time"] | None:
    """Returns which steps are not padding; None if all are valid.

    Args:
        function: the name to blame in an error.
        steps: the batch and time axes of the data.
        axis: which of them is time.
        lengths: as in `unroll`.
        mask: as in `unroll`.
    """
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        batch = steps[:axis] + steps[axis + 1 :]
        if lengths.shape != batch or not jnp.issubdtype(lengths.dtype, jnp.integer):
            raise ValueError(
                f"{function}: lengths must be {batch} integers to match the batch axes of xs, "
                f"got {lengths.shape} {lengths.dtype}."
            )
    if mask is not None:
        mask = jnp.asarray(mask)
        if mask.shape != steps or mask.dtype != jnp.bool_:
            raise ValueError(
                f"{function}: mask must be {steps} bool to match the batch and time axes of xs, "
                f"got {mask.shape} {mask.dtype}."
            )
    if lengths is None:
        return mask
    # In int32 whatever came: counting to 300 in uint8 would begin again at 256.
    t = jax.lax.broadcasted_iota(jnp.int32, steps, axis)
    ends = jnp.expand_dims(lengths.astype(jnp.int32), axis)
    within = t < jnp.broadcast_to(ends, steps)
    return within if mask is None else within & mask


def _check_inputs(cell: Cell, params: Params, xs: Array) -> Shape:
    """Returns the batch and time axes of `xs`."""
    input_shape = cell.input_shape(params)
    path, leaf = jax.tree.leaves_with_path(params)[0]
    split = xs.ndim - len(input_shape)
    if split < 1 or xs.shape[split:] != input_shape or xs.dtype != leaf.dtype:
        needed = ", ".join(["*batch", "time", *map(str, input_shape)])
        raise ValueError(
            f"unroll: xs must be [{needed}] {leaf.dtype} to match "
            f"params{jax.tree_util.keystr(path)} {leaf.shape}, got {xs.shape} {xs.dtype}."
        )
    return xs.shape[:split]


def _check_time_axis(time_axis: int, xs: Array, count: int) -> int:
    """Returns the time axis counted from the front."""
    axis = time_axis + xs.ndim if time_axis < 0 else time_axis
    if not 0 <= axis < count:
        raise ValueError(
            f"unroll: time_axis must name one of the first {count} axes of xs {xs.shape}, "
            f"got {time_axis}."
        )
    return axis


def _check_state(cell: Cell, params: Params, x_shape: Shape, h0: State) -> None:
    needed = jax.eval_shape(lambda p: cell.initial_state(p, x_shape), params)
    describe = partial(jax.tree.map, lambda leaf: f"{jnp.shape(leaf)} {jnp.result_type(leaf)}")
    if describe(needed) != describe(h0):
        raise ValueError(f"unroll: h0 must be {describe(needed)}, got {describe(h0)}.")
