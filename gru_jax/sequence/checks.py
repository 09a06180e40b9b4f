"""The checks of a run's arguments: while tracing, before anything is computed."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool

from gru_jax.ops.checks import check_kind
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.training.checks import describe, is_key
from gru_jax.types import ArrayLike, Cell, Input, Key, Params, Shape, State


class Limits(NamedTuple):
    """The boundaries, as arguments of `unroll`."""

    lengths: ArrayLike | None = None
    mask: ArrayLike | None = None
    resets: ArrayLike | None = None
    h_reset: State | None = None


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Removes JAX's note on hidden frames from a ValueError, so that it ends with its message."""
    try:
        yield
    except ValueError as error:
        error.__notes__ = []
        raise


def as_array(function: str, name: str, value: Any, order: str) -> Array:
    """Returns an array; an error shows `order`, the call, in case arguments were swapped."""
    try:
        if hasattr(value, "_fields"):  # Parameters, in the place of inputs.
            raise TypeError
        return jnp.asarray(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise ValueError(
            f"{function}: {name} must be an array, got a {kind}; the call is {order}."
        ) from None


def input_of(part: Any, params: Params) -> Input:
    """Returns the `Input` of a cell or a layer."""
    return part.input(params) if part.input else Input()


def check_cell(function: str, cell: Any) -> None:
    """Raises unless `cell` is a `Cell`."""
    check_kind(f"{function}: cell must be a Cell, e.g. gru(64)", cell, Cell)


def check_key(function: str, key: Key | None) -> None:
    """Raises if `key` is neither a key nor None."""
    if key is not None and not is_key(key):
        raise ValueError(
            f"{function}: key must be one key, e.g. jax.random.key(0), or None, "
            f"got {describe(key)}."
        )


def check_inputs(
    function: str, part: Any, params: Params, xs: Array, *, time: bool = True
) -> Shape:
    """Returns the batch shape, without the axes of one step's input.

    Args:
        function: the name that an error begins with.
        part: a cell or a layer.
        params: its parameters.
        xs: the inputs, or one step's input `x`.
        time: whether there is a time axis.

    Raises:
        ValueError: if `xs` does not fit `part` and `params`.
    """
    shape, dtype = input_of(part, params)
    leaves = jax.tree.leaves_with_path(params)
    if dtype is None and leaves:
        dtype = leaves[0][1].dtype
    split = xs.ndim - len(shape)
    fits = split >= time and all(
        size in (None, actual) for size, actual in zip(shape, xs.shape[split:], strict=True)
    )
    if not fits or (dtype is not None and not jnp.issubdtype(xs.dtype, dtype)):
        sizes = ["any" if size is None else str(size) for size in shape]
        axes = ["*batch", "time", *sizes] if time else ["*batch", *sizes]
        expected = f"[{', '.join(axes)}]"
        if dtype is not None:
            expected += f" {getattr(dtype, '__name__', dtype)}"
        if leaves:
            path, leaf = leaves[0]
            expected += f" to match params{jax.tree_util.keystr(path)} {leaf.shape}"
        name = "xs" if time else "x"
        raise ValueError(f"{function}: {name} must be {expected}, got {xs.shape} {xs.dtype}.")
    return xs.shape[:split]


def check_whole(function: str, time_axis: Any) -> None:
    """Raises unless `time_axis` is an integer or None."""
    if not isinstance(time_axis, int | np.integer | None):
        raise ValueError(f"{function}: time_axis must be a whole number, got {time_axis!r}.")


def check_time_axis(function: str, time_axis: int | None, xs: Array, count: int) -> int:
    """Returns the time axis counted from the front; None is the last of the first `count`."""
    if time_axis is None:
        return count - 1
    axis = time_axis + xs.ndim if time_axis < 0 else time_axis
    if not 0 <= axis < count:
        raise ValueError(
            f"{function}: time_axis must name one of the first {count} axes of xs {xs.shape}, "
            f"got {time_axis!r}."
        )
    return int(axis)


def as_lengths(function: str, lengths: Any) -> ArrayLike | None:
    """Returns lengths as an array; raises a ValueError if concrete lengths are negative."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(lengths)):
        return jnp.asarray(lengths)  # Or a list of them.
    if lengths is None:
        return None
    lengths = lengths if hasattr(lengths, "dtype") else np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or not lengths.size:
        return lengths
    least = int(np.min(jax.device_get(lengths)))
    if least < 0:
        raise ValueError(f"{function}: lengths must be 0 or more, got {least}.")
    if isinstance(lengths, np.ndarray):
        # JAX would truncate 64 bits to 32, so clip first.
        most = min(np.iinfo(np.int32).max, np.iinfo(lengths.dtype).max)
        lengths = np.minimum(lengths, np.asarray(most, lengths.dtype))
    return lengths


def check_boundaries(function: str, steps: Shape, axis: int, limits: Limits) -> Boundaries:
    """Returns which steps are valid and which begin a segment.

    Args:
        function: the name that an error begins with.
        steps: the sizes of the inputs' batch and time axes.
        axis: the position of time among them.
        limits: the arguments to check.
    """
    lengths, mask, resets, h_reset = limits
    if h_reset is not None and resets is None:
        raise ValueError(f"{function}: h_reset must come with resets, got resets None.")
    valid = _check_steps(function, "mask", mask, steps, axis)
    if lengths is not None:
        within = _within(function, lengths, steps, axis)
        valid = within if valid is None else within & valid
    return Boundaries(valid, _check_steps(function, "resets", resets, steps, axis), h_reset)


def _within(
    function: str, lengths: ArrayLike, steps: Shape, axis: int
) -> Bool[Array, "*batch time"]:
    """Returns which steps come before the lengths."""
    batch = steps[:axis] + steps[axis + 1 :]
    if lengths.shape != batch or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"{function}: lengths must be {batch} integers to match the batch axes of xs, "
            f"got {lengths.shape} {lengths.dtype}.{_hint(lengths.shape, steps, axis)}"
        )
    lengths = jnp.asarray(lengths)
    most = min(jnp.iinfo(jnp.int32).max, jnp.iinfo(lengths.dtype).max)
    lengths = jnp.minimum(lengths, jnp.asarray(most, lengths.dtype))
    # In int32, whatever the dtype of lengths: counting in uint8 would wrap around at 256.
    t = jax.lax.broadcasted_iota(jnp.int32, steps, axis)
    return t < jnp.broadcast_to(jnp.expand_dims(lengths.astype(jnp.int32), axis), steps)


def _check_steps(
    function: str, name: str, value: ArrayLike | None, steps: Shape, axis: int
) -> Bool[Array, "*batch time"] | None:
    """Returns booleans for all steps, or None."""
    if value is None:
        return None
    value = jnp.asarray(value)
    if value.shape != steps or value.dtype != jnp.bool_:
        raise ValueError(
            f"{function}: {name} must be {steps} bool to match the batch and time axes of xs, "
            f"got {value.shape} {value.dtype}.{_hint(value.shape, steps, axis)}"
        )
    return value


def _hint(actual: Shape, steps: Shape, axis: int) -> str:
    """Returns advice if the argument would fit time-major inputs, or has swapped axes."""
    if len(steps) < 2:
        return ""
    if axis and actual == steps[1:]:
        return " Is xs time-major? `unroll` and Flax modules take it with time_axis=0."
    if len(actual) > 1 and actual == (*steps[1::-1], *steps[2:]):
        return " Its axes of batch and time have changed places."
    return ""
