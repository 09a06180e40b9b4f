"""Cells as layers, in one direction or in both."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import describe
from gru_jax.recurrence.boundaries import Bounds, leave
from gru_jax.sequence.backends import check_name
from gru_jax.sequence.checks import OPTIONS, check_options, check_rates
from gru_jax.sequence.unroll import trace, unroll
from gru_jax.types import Cell, Key, Layer, Params, Shape, State, exportable


def recurrent(cell: Cell, *, reverse: bool = False, **options: Any) -> Layer:
    """Runs a cell over the sequence; parameters and state are the cell's.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        reverse: run from the last step to the first; such a layer cannot stream.
        options: of `unroll`, and the same for each sequence: `zoneout`, `recurrent_dropout`,
            `drop_connect`, `derivative`, `memory`, `chunk_size`, `unroll`, `backend`. What is
            random needs the key that `apply` is given; lengths, mask and resets are given there,
            too.

    Raises:
        ValueError: if `cell` is something else, or an option is unknown or out of range.
    """
    if not isinstance(cell, Cell):
        raise ValueError(
            f"recurrent: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}."
        )
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"recurrent: options must be among {', '.join(OPTIONS)}, got {name}.")
    check_rates("recurrent", *(options.get(name, 0.0) for name in OPTIONS[:3]))
    ways = {name: options[name] for name in OPTIONS[3:-1] if name in options}
    check_options("recurrent", reverse=reverse, **ways)
    check_name("recurrent", options.get("backend") or "auto")

    def output_size(input_size: int) -> int:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
        return jax.eval_shape(lambda p: cell.initial_state(p, (input_size,)), params).shape[-1]

    def apply(params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        steps = {"lengths": lengths, "mask": mask, "resets": resets}
        return unroll(cell, params, xs, state, **steps, key=key, reverse=reverse, **options)

    def trace_steps(params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        steps = {"lengths": lengths, "mask": mask, "resets": resets}
        tape = trace(cell, params, xs, state, **steps, key=key, reverse=reverse, **options)
        return tape.h, tape

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        if reverse:
            raise _cannot_stream("recurrent(reverse=True)")
        h = cell.step(params, x, state)
        if rate := options.get("zoneout"):
            hold = jax.tree.map(lambda h: jnp.asarray(rate, h.dtype), h)
            h = leave(Bounds(hold=hold), state, h)
        return h, h

    architecture = describe("recurrent", cell, reverse=reverse, **options)
    return Layer(cell.init, output_size, apply, cell.initial_state, step, trace_steps, architecture)


@exportable
class Directions(NamedTuple):
    """The parameters, the states or the tapes of a bidirectional layer."""

    forward: Any
    backward: Any


def bidirectional(
    forward: Cell,
    backward: Cell | None = None,
    *,
    merge: Literal["concat", "sum"] = "concat",
    **options: Any,
) -> Layer:
    """Runs one cell forward and one backward over the same steps and segments.

    The backward cell starts at the last valid step of each sequence. A layer that reads the
    sequence from its end cannot stream: `step` raises.

    Args:
        forward: the cell that reads from the first step to the last.
        backward: the cell that reads from the last to the first; None is another `forward`.
        merge: features of the two side by side, or their sum.
        options: as in `recurrent`, for both directions; what is random is drawn for each.

    Raises:
        ValueError: if `merge` is another word, or a sum has two sizes.
    """
    if merge not in ("concat", "sum"):
        raise ValueError(f'bidirectional: merge must be "concat" or "sum", got {merge!r}.')
    if "reverse" in options:
        raise ValueError("bidirectional: options must not have reverse, it runs both directions.")
    ahead = recurrent(forward, **options)
    back = recurrent(backward or forward, reverse=True, **options)

    def init(key: Key, input_size: int) -> Directions:
        key_ahead, key_back = jax.random.split(key)
        output_size(input_size)
        return Directions(ahead.init(key_ahead, input_size), back.init(key_back, input_size))

    def output_size(input_size: int) -> int:
        sizes = ahead.output_size(input_size), back.output_size(input_size)
        if merge == "concat":
            return sum(sizes)
        if sizes[0] != sizes[1]:
            raise ValueError(
                'bidirectional: with merge="sum" both cells must have one hidden size, '
                f"got {sizes[0]} and {sizes[1]}."
            )
        return sizes[0]

    def both(calls, params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        steps = {"lengths": lengths, "mask": mask, "resets": resets}
        state = Directions(None, None) if state is None else state
        if not isinstance(state, Directions):
            raise ValueError(
                "bidirectional: state must be Directions(forward, backward), got a "
                f"{type(state).__name__}."
            )
        keys = (None, None) if key is None else jax.random.split(key)
        ys_ahead, ahead = calls[0](params.forward, xs, state.forward, **steps, key=keys[0])
        ys_back, back = calls[1](params.backward, xs, state.backward, **steps, key=keys[1])
        if merge == "sum":
            return ys_ahead + ys_back, Directions(ahead, back)
        return jnp.concatenate([ys_ahead, ys_back], -1), Directions(ahead, back)

    def initial_state(params: Directions, x_shape: Shape) -> Directions:
        return Directions(
            ahead.initial_state(params.forward, x_shape),
            back.initial_state(params.backward, x_shape),
        )

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        del params, x, state
        raise _cannot_stream("bidirectional")

    apply = partial(both, (ahead.apply, back.apply))
    trace_both = partial(both, (ahead.trace, back.trace))
    architecture = describe("bidirectional", forward, backward or forward, merge=merge, **options)
    return Layer(init, output_size, apply, initial_state, step, trace_both, architecture)


def _cannot_stream(layer: str) -> ValueError:
    return ValueError(
        f"{layer}: step must see the whole sequence first, so it cannot stream; use apply."
    )
