"""A cell over time: boundaries, direction, what is kept.

    xs --project--> drive --gates, mix--> hs

The products with the inputs are done for many steps at once, before the loop; the loop carries the
state alone. A padded step leaves the state as it was and its output is zero. Direction needs no
flipping: a loop in reverse meets the padding first and carries h0 through it.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PyTree

from gru_jax import loop
from gru_jax.noise import Rates
from gru_jax.types import ArrayLike, Cell, Key, Params, Shape, State


def unroll(
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    reverse: bool = False,
    time_axis: int = -2,
    key: Key | None = None,
    zoneout: float = 0.0,
    recurrent_dropout: float = 0.0,
    drop_connect: float = 0.0,
    derivative: Literal["rule", "autodiff"] = "rule",
    memory: Literal["gates", "states", "chunked"] | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
) -> tuple[PyTree[Float[Array, "*batch time hidden"]], State]:
    """Runs a cell over sequences.

    What stands in padded steps, NaN and inf included, changes no result and no gradient. Under
    `jit` the cell is closed over: `jax.jit(lambda params, xs: unroll(cell, params, xs))`.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        params: its parameters, from `cell.init`.
        xs: the inputs; no batch axis, one, or several.
        h0: the state before the first step, finite; None is the cell's initial state.
        lengths: steps at and after a sequence's length are padding; None is no padding, and so is
            a length of `time` or more.
        mask: False steps are padding, wherever they stand. With `lengths`, both apply.
        resets: True steps begin a new segment (an episode): the state is put back to `h_reset`
            before x_t is read. A reset in padding is none. In reverse the segments are the same,
            each entered at its last step; of a sequence cut where a segment begins, the earlier
            piece then starts from `h_reset`.
        h_reset: the state, like `h0`, that each new segment begins with; None is the cell's
            initial state.
        reverse: run from the last step to the first; outputs stay in input order.
        time_axis: where time stands in `xs`, in `mask`, in `resets` and in the outputs: 0 is
            time-major, which saves two transposed copies.
        key: switches on what is random in training, the next three; None is evaluation. The masks
            depend on the key and on each step's position in `xs`.
        zoneout: probability that a feature of the state stays as it was, drawn for each step; in
            evaluation that share of the old state is kept.
        recurrent_dropout: probability that the gates cannot see a feature of the old state, drawn
            once for each sequence.
        drop_connect: probability that a weight on the state is zero, drawn once for the batch.
        derivative: "rule" is the cell's own (one product for each weight's gradient, outside the
            loop) where it has one; "autodiff" differentiates through the loop, slowly.
        memory: what is kept for reverse mode: the "gates" and states of all steps, the "states"
            alone, or, "chunked", the state every `chunk_size` steps. None is "gates" while the
            states (under `vmap`, of one example) take up to 16 MiB, where it is fastest, and
            "states" from there on.
        chunk_size: steps that are worked on at once with the other two (by autodiff with "chunked"
            alone); None is about the square root of their number, and more where a step is small.
        unroll: steps in one turn of the compiled loop.

    Returns:
        `(hs, h_last)`: the state after each step, zero in padded ones, and the state after the
        last valid step in the direction of travel, which is `h0` where there is none.

    Raises:
        ValueError: if shapes or dtypes do not fit each other, or an option is out of range.

    References:
        Krueger et al. (2017) for zoneout, Gal and Ghahramani (2016) for recurrent dropout, Merity
        et al. (2018) for DropConnect on recurrent weights, Chen et al. (2016), "Training deep nets
        with sublinear memory cost", for chunks.
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"unroll: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}.")
    xs = jnp.asarray(xs)
    _check_options(derivative, memory, chunk_size, unroll)
    rates = check_rates("unroll", zoneout, recurrent_dropout, drop_connect)
    steps = _check_inputs(cell, params, xs)
    axis = _check_time_axis(time_axis, xs, len(steps))
    x_shape = xs.shape[:axis] + xs.shape[axis + 1 :]
    initial = cell.initial_state(params, x_shape)
    h0 = _check_state("h0", h0, initial)
    valid = valid_steps("unroll", steps, axis, lengths, mask)
    resets = _check_steps("unroll", "resets", resets, steps)
    if h_reset is not None and resets is None:
        raise ValueError("unroll: h_reset must come with resets, got resets None.")
    h_reset = None if resets is None else _check_state("h_reset", h_reset, initial)
    how = loop.How(
        cell.project,
        cell.pack,
        cell.gates,
        cell.mix,
        cell.rule if derivative == "rule" else None,
        axis,
        reverse,
        unroll,
        memory,
        chunk_size,
        rates,
    )
    return loop.run(how, params, xs, h0, valid, resets, h_reset, key)


def check_rates(
    function: str, zoneout: float, recurrent_dropout: float, drop_connect: float
) -> Rates:
    """Returns the probabilities of what is random in a recurrence."""
    rates = Rates(float(zoneout), float(recurrent_dropout), float(drop_connect))
    for name, rate in rates._asdict().items():
        if not 0 <= rate < 1:
            raise ValueError(f"{function}: {name} must be 0 <= {name} < 1, got {rate}.")
    return rates


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
    mask = _check_steps(function, "mask", mask, steps)
    if lengths is None:
        return mask
    # In int32 whatever came: counting to 300 in uint8 would begin again at 256.
    t = jax.lax.broadcasted_iota(jnp.int32, steps, axis)
    within = t < jnp.broadcast_to(jnp.expand_dims(lengths.astype(jnp.int32), axis), steps)
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


def _check_steps(
    function: str, name: str, value: ArrayLike | None, steps: Shape
) -> Bool[Array, "*batch time"] | None:
    if value is None:
        return None
    value = jnp.asarray(value)
    if value.shape != steps or value.dtype != jnp.bool_:
        raise ValueError(
            f"{function}: {name} must be {steps} bool to match the batch and time axes of xs, "
            f"got {value.shape} {value.dtype}."
        )
    return value


def _check_state(name: str, state: State | None, initial: State) -> State:
    """Returns the state, the initial one if it is None."""
    if state is None:
        return initial
    describe = partial(jax.tree.map, lambda leaf: f"{jnp.shape(leaf)} {jnp.result_type(leaf)}")
    if describe(initial) != describe(state):
        raise ValueError(f"unroll: {name} must be {describe(initial)}, got {describe(state)}.")
    return jax.tree.map(jnp.asarray, state)


def _check_options(derivative: str, memory: str | None, chunk_size: int | None, turns: int) -> None:
    if derivative not in ("rule", "autodiff"):
        raise ValueError(f'unroll: derivative must be "rule" or "autodiff", got {derivative!r}.')
    if memory not in (None, "gates", "states", "chunked"):
        raise ValueError(f'unroll: memory must be "gates", "states" or "chunked", got {memory!r}.')
    for name, value in (("chunk_size", chunk_size), ("unroll", turns)):
        if value is not None and value < 1:
            raise ValueError(f"unroll: {name} must be 1 or more, got {value}.")
