"""Cells as layers, in one direction or in both."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer, zero_padding
from gru_jax.ops.checks import check_kind
from gru_jax.recurrence.boundaries import Boundaries, check_state, enter, leave
from gru_jax.sequence.call import Settings, make_options, make_settings, prepare, run_call
from gru_jax.sequence.checks import check_cell, input_of
from gru_jax.sequence.choice import check_name
from gru_jax.sequence.options import RATES
from gru_jax.sequence.trace import trace_call
from gru_jax.types import Cell, Input, Key, Params, Shape, State, Trace, exportable


@buildable
def recurrent(cell: Cell, *, reverse: bool = False, **options: Any) -> Layer:
    """Runs a cell over the sequence; parameters and state are the cell's.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        reverse: run from the last step to the first; such a layer cannot stream.
        options: the options of `unroll` that are the same for each sequence: `zoneout`,
            `recurrent_dropout`, `drop_connect`, `derivative`, `memory`, `chunk_size`, `unroll`,
            `backend`. Noise needs the `key` of `apply`, which also takes lengths, mask and resets.

    Raises:
        ValueError: if `cell` is not a cell, or an option is unknown or out of range.
    """
    check_cell("recurrent", cell)
    checked = make_options("recurrent", options)
    settings = make_settings("recurrent", cell, checked, reverse, None)
    check_name("recurrent", checked.backend or "auto")
    return Layer(
        init=cell.init,
        output_size=bind(_output_size, cell),
        run=bind(_run, "run", settings),
        initial_state=cell.initial_state,
        advance=bind(_advance, settings),
        trace=bind(_run, "trace", settings),
        input=cell.input,
        random=any(getattr(checked, name) for name in RATES),
    )


def _output_size(cell: Cell, input_size: int) -> int:
    def output() -> Array:
        params = cell.init(jax.random.key(0), input_size)
        *space, last = input_of(cell, params).shape or (None,)
        x_shape = () if cell.input and not cell.input(params).shape else (last or input_size,)
        x_shape = (*(size or 1 for size in space), *x_shape)
        return _outputs(cell, cell.initial_state(params, x_shape))

    return jax.eval_shape(output).shape[-1]


def _outputs(cell: Cell, states: State) -> Array:
    """Returns the array that the layer passes on."""
    ys = cell.output(states) if cell.output else states
    if not hasattr(ys, "shape"):
        raise ValueError(
            "recurrent: cell must say its output, an array, as its state is not one, "
            f"got {jax.tree.structure(ys)}: Cell(..., output=lambda state: state[0])."
        )
    return ys


def _run(
    field: Literal["run", "trace"],
    settings: Settings,
    params: Params,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, State | Trace]:
    call, cell = prepare(settings, params, xs, state, boundaries, key), settings.cell
    if field == "trace":
        result = trace_call(call)
        states = result.h
    else:
        states, result = run_call(call)
    ys = _outputs(cell, states)
    # `cell.output` may map zeros to other values.
    return zero_padding(ys, boundaries) if cell.output else ys, result


def _advance(
    settings: Settings, params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    _, cell, options, reverse, _ = settings
    if reverse:
        raise _cannot_stream("recurrent(reverse=True)")
    initial = cell.initial_state(params, x.shape)
    check_state("recurrent", "state", state, like=initial)
    if boundaries.h_reset is None:
        boundaries = boundaries._replace(h_reset=initial)
    if options.zoneout:
        hold = jax.tree.map(lambda h: jnp.asarray(options.zoneout, h.dtype), initial)
        boundaries = boundaries._replace(hold=hold)
    seen, state = enter(boundaries, state)
    state = leave(boundaries, state, cell.step(params, x, seen))
    return zero_padding(_outputs(cell, state), boundaries), state


@exportable
class Directions(NamedTuple):
    """The parameters, states or traces of a bidirectional layer."""

    forward: Any
    backward: Any


PARAMS = "bidirectional: params must be Directions(forward, backward)"


@buildable
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
        backward: the cell that reads from the last to the first; None runs `forward` again, with
            its own parameters.
        merge: features of the two side by side, or their sum.
        options: as in `recurrent`, for both directions; noise is drawn for each direction.

    Raises:
        ValueError: if `merge` is neither, or the two sizes of a sum differ.
    """
    if merge not in ("concat", "sum"):
        raise ValueError(f'bidirectional: merge must be "concat" or "sum", got {merge!r}.')
    if "reverse" in options:
        raise ValueError("bidirectional: options must not have reverse, it runs both directions.")
    if backward is None:
        return bidirectional(forward, forward, merge=merge, **options)
    ahead, back = recurrent(forward, **options), recurrent(backward, reverse=True, **options)
    both = ahead, back, merge
    return Layer(
        init=bind(_init_both, *both),
        output_size=bind(_output_size_both, *both),
        run=bind(_run_both, "run", *both),
        initial_state=bind(_initial_both, *both),
        advance=_advance_both,
        trace=bind(_run_both, "trace", *both),
        input=forward.input and bind(_input_both, forward),
        random=ahead.random,
    )


def _init_both(ahead: Layer, back: Layer, merge: str, key: Key, input_size: int) -> Directions:
    key_ahead, key_back = jax.random.split(key)
    _output_size_both(ahead, back, merge, input_size)
    return Directions(ahead.init(key_ahead, input_size), back.init(key_back, input_size))


def _output_size_both(ahead: Layer, back: Layer, merge: str, input_size: int) -> int:
    sizes = ahead.output_size(input_size), back.output_size(input_size)
    if merge == "concat":
        return sum(sizes)
    if sizes[0] != sizes[1]:
        raise ValueError(
            'bidirectional: with merge="sum" both cells must have one hidden size, '
            f"got {sizes[0]} and {sizes[1]}."
        )
    return sizes[0]


def _run_both(
    field: Literal["run", "trace"],
    ahead: Layer,
    back: Layer,
    merge: str,
    params: Directions,
    xs: Array,
    state: Directions | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, Directions]:
    check_kind(PARAMS, params, Directions)
    none = Directions(None, None)
    state = none if state is None else state
    h_reset = none if boundaries.h_reset is None else boundaries.h_reset
    keys = (None, None) if key is None else jax.random.split(key)
    run_ahead, run_back = getattr(ahead, field), getattr(back, field)
    boundaries = boundaries._replace(h_reset=h_reset.forward)
    ys_ahead, last = run_ahead(params.forward, xs, state.forward, boundaries, keys[0])
    boundaries = boundaries._replace(h_reset=h_reset.backward)
    ys_back, first = run_back(params.backward, xs, state.backward, boundaries, keys[1])
    ys = ys_ahead + ys_back if merge == "sum" else jnp.concatenate([ys_ahead, ys_back], -1)
    return ys, Directions(last, first)


def _initial_both(
    ahead: Layer, back: Layer, merge: str, params: Directions, x_shape: Shape
) -> Directions:
    del merge
    check_kind(PARAMS, params, Directions)
    return Directions(
        ahead.initial_state(params.forward, x_shape), back.initial_state(params.backward, x_shape)
    )


def _input_both(forward: Cell, params: Directions) -> Input:
    check_kind(PARAMS, params, Directions)
    return input_of(forward, params.forward)


def _advance_both(
    params: Directions, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    del params, x, state, boundaries
    raise _cannot_stream("bidirectional")


def _cannot_stream(layer: str) -> ValueError:
    return ValueError(
        f"{layer}: step must see the whole sequence first, so it cannot stream; use apply."
    )
