"""The trace of a cell, or of every cell of a net, and the code that runs it."""

from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Bool, Integer, PyTree, Shaped

from gru_jax.layers.layer import Layer, compiled
from gru_jax.layers.signatures import OMITTED
from gru_jax.ops.checks import check_kind
from gru_jax.sequence.call import Settings, prepare, split_arguments
from gru_jax.sequence.checks import Limits, as_array, clear_errors
from gru_jax.sequence.choice import Choice, collect_choices, environment, traced_anew
from gru_jax.sequence.trace import trace_call
from gru_jax.types import ArrayLike, Cell, Key, Params, State, Trace


def trace(
    cell: Cell | Layer,
    params: Params,
    xs: Shaped[ArrayLike, "..."],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    key: Key | None = OMITTED,
    **options: Any,
) -> Trace | PyTree[Array]:
    """Runs a cell over sequences and returns its trace: the values of its gates at every step.

    The loop and the states are the same as in `unroll`. The gates are computed from the states
    after the loop, for all steps at once. Tracing works under `jit`, `vmap` and `grad` (to train on
    the gates' values). Under `jit`, unused parts of the trace are never computed.

    Args:
        cell: the recurrence, e.g. `gru(64)`, or a layer with recurrences in it, e.g. `stack(...)`.
        params: its parameters.
        xs: as in `unroll`.
        h0: as in `unroll`; for a layer, the state as in its `apply`.
        lengths: as in `unroll`.
        mask: as in `unroll`.
        resets: as in `unroll`.
        h_reset: as in `unroll`; for a layer, of the same form as its state.
        key: as in `unroll`; for a layer, as in its `apply`.
        options: for a cell, the other options of `unroll`. `memory` and `chunk_size` have no
            effect, because a trace keeps all steps, in one piece. Layers take their options when
            they are built.

    Returns:
        For a cell, a `Trace`, with the same time axis as `xs`. For a layer, a tree of traces with
        the structure of its state: a tuple for `stack`, `Directions` for `bidirectional`, a `Trace`
        for `recurrent`, `()` for a layer without cells.

    Raises:
        ValueError: as from `unroll`.
    """
    limits = Limits(lengths, mask, resets, h_reset)
    if isinstance(cell, Layer):
        if options:
            raise ValueError(
                f"trace: options must be given to the layers, got {', '.join(options)}."
            )
        return compiled("trace", cell, params, xs, h0, limits, key)[1]
    check_kind("trace: cell must be a Cell or a Layer, e.g. gru(64)", cell, Cell)
    arguments = limits._asdict() | options | {"key": None if key is OMITTED else key}
    settings, limits, key = split_arguments("trace", cell, arguments)
    xs = as_array("trace", "xs", xs, "trace(cell, params, xs)")
    with clear_errors():
        return traced_anew(_trace)(settings, environment(), params, xs, h0, limits, key)


@partial(jax.jit, static_argnums=(0, 1))
def _trace(
    settings: Settings,
    _environment: tuple[str, str],
    params: Params,
    xs: Array,
    h0: State | None,
    limits: Limits,
    key: Key | None,
) -> Trace:
    return trace_call(prepare(settings, params, xs, h0, limits, key))


def explain_backend(
    cell: Cell | Layer,
    params: Params,
    xs: Shaped[ArrayLike, "..."] | jax.ShapeDtypeStruct,
    h0: State | None = None,
    **arguments: Any,
) -> tuple[Choice, ...]:
    """Returns which code runs each cell with these arguments, and why; it computes nothing.

    Only compiling shows that a program is for another platform, exported, or in a `shard_map` over
    some axes of a mesh. Then XLA's loops run, and the log "gru_jax" says so at level DEBUG.

    Args:
        cell: the recurrence, or a layer with recurrences in it.
        params: its parameters. Shapes and dtypes are enough, e.g. from `jax.eval_shape`; so they
            are for `xs` and `h0`.
        xs: the inputs.
        h0: the state before the first step.
        arguments: the other arguments of `unroll`, or of the layer's `apply`.

    Returns:
        One `(backend, reason)` for each cell, in the order in which they run: the backend's name,
        and why it was chosen.

    Raises:
        ValueError: as from `unroll`.
    """
    if isinstance(cell, Layer):
        return collect_choices(lambda p, xs, h: cell.apply(p, xs, h, **arguments), params, xs, h0)
    settings, limits, key = split_arguments("explain_backend", cell, arguments)
    return collect_choices(
        lambda p, xs, h: prepare(settings, p, xs, h, limits, key).xs, params, xs, h0
    )
