"""What `unroll` and the layers are given: checked while tracing, before anything is computed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from gru_jax.ops.initializers import check_count
from gru_jax.recurrence.noise import Rates
from gru_jax.types import ArrayLike, Cell, Params, Shape, State

OPTIONS = ("zoneout", "recurrent_dropout", "drop_connect")
OPTIONS += ("derivative", "memory", "chunk_size", "unroll", "backend")
"""Options of `unroll` that are the same for each sequence: what a recurrent layer takes."""


def check_rates(
    function: str, zoneout: float, recurrent_dropout: float, drop_connect: float
) -> Rates:
    """Returns the probabilities of what is random in a recurrence."""
    given = Rates(zoneout, recurrent_dropout, drop_connect)
    for name, rate in given._asdict().items():
        if isinstance(rate, str) or not 0 <= rate < 1:
            raise ValueError(f"{function}: {name} must be 0 <= {name} < 1, got {rate!r}.")
    return Rates(*map(float, given))


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
        lengths = lengths if hasattr(lengths, "dtype") else np.asarray(lengths)
        # Cut to the time there is in their own dtype, before JAX makes 32 bits of 64.
        tools = np if isinstance(lengths, np.ndarray) else jnp
        if jnp.issubdtype(lengths.dtype, jnp.integer):
            most = min(steps[axis], jnp.iinfo(lengths.dtype).max)
            lengths = tools.minimum(lengths, tools.asarray(most, lengths.dtype))
        lengths = jnp.asarray(lengths)
        batch = steps[:axis] + steps[axis + 1 :]
        if lengths.shape != batch or not jnp.issubdtype(lengths.dtype, jnp.integer):
            raise ValueError(
                f"{function}: lengths must be {batch} integers to match the batch axes of xs, "
                f"got {lengths.shape} {lengths.dtype}."
            )
    mask = check_steps(function, "mask", mask, steps)
    if lengths is None:
        return mask
    # In int32 whatever came: counting to 300 in uint8 would begin again at 256.
    t = jax.lax.broadcasted_iota(jnp.int32, steps, axis)
    within = t < jnp.broadcast_to(jnp.expand_dims(lengths.astype(jnp.int32), axis), steps)
    return within if mask is None else within & mask


def check_inputs(function: str, cell: Cell, params: Params, xs: Array) -> Shape:
    """Returns the batch and time axes of `xs`."""
    input_shape = cell.input_shape(params)
    path, leaf = jax.tree.leaves_with_path(params)[0]
    split = xs.ndim - len(input_shape)
    if split < 1 or xs.shape[split:] != input_shape or xs.dtype != leaf.dtype:
        needed = ", ".join(["*batch", "time", *map(str, input_shape)])
        raise ValueError(
            f"{function}: xs must be [{needed}] {leaf.dtype} to match "
            f"params{jax.tree_util.keystr(path)} {leaf.shape}, got {xs.shape} {xs.dtype}."
        )
    return xs.shape[:split]


def check_time_axis(function: str, time_axis: int, xs: Array, count: int) -> int:
    """Returns the time axis counted from the front."""
    whole = isinstance(time_axis, int | np.integer)
    axis = time_axis + xs.ndim if whole and time_axis < 0 else time_axis
    if not whole or not 0 <= axis < count:
        raise ValueError(
            f"{function}: time_axis must name one of the first {count} axes of xs {xs.shape}, "
            f"got {time_axis!r}."
        )
    return int(axis)


def check_steps(
    function: str, name: str, value: ArrayLike | None, steps: Shape
) -> Bool[Array, "*batch time"] | None:
    """Returns booleans of all steps, or None."""
    if value is None:
        return None
    value = jnp.asarray(value)
    if value.shape != steps or value.dtype != jnp.bool_:
        raise ValueError(
            f"{function}: {name} must be {steps} bool to match the batch and time axes of xs, "
            f"got {value.shape} {value.dtype}."
        )
    return value


def check_state(function: str, name: str, state: State | None, initial: State) -> State:
    """Returns the state, the initial one if it is None."""
    if state is None:
        return initial
    describe = partial(jax.tree.map, lambda leaf: f"{jnp.shape(leaf)} {jnp.result_type(leaf)}")
    if describe(initial) != describe(state):
        raise ValueError(f"{function}: {name} must be {describe(initial)}, got {describe(state)}.")
    return jax.tree.map(jnp.asarray, state)


def check_options(
    function: str,
    *,
    reverse: bool = False,
    derivative: str = "rule",
    memory: str | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
) -> None:
    """Raises unless the options that choose a way of running are known ones."""
    if not isinstance(reverse, bool | np.bool_):
        raise ValueError(f"{function}: reverse must be True or False, got {reverse!r}.")
    if derivative not in ("rule", "autodiff"):
        raise ValueError(
            f'{function}: derivative must be "rule" or "autodiff", got {derivative!r}.'
        )
    if memory not in (None, "gates", "states", "chunked"):
        raise ValueError(
            f'{function}: memory must be "gates", "states" or "chunked", got {memory!r}.'
        )
    for name, value in (
        ("chunk_size", 1 if chunk_size is None else chunk_size),
        ("unroll", unroll),
    ):
        check_count(function, name, value)
