"""A cell over time.

    xs --project--> drive --gates, mix--> hs

The products with the inputs are done for many steps at once, before the loop; the loop carries the
state alone. A padded step leaves the state as it was and its output is zero. Direction needs no
flipping: a loop in reverse meets the padding first and carries h0 through it.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer, PyTree, Shaped

from gru_jax.recurrence.boundaries import Boundaries, check_state
from gru_jax.sequence import schedule
from gru_jax.sequence.backends import Choice, Request, choose, environment, required
from gru_jax.sequence.checks import (
    as_array,
    as_lengths,
    check_boundaries,
    check_cell,
    check_inputs,
    check_time_axis,
    check_whole,
)
from gru_jax.sequence.options import BackendName, Program, RunOptions, check_options
from gru_jax.types import ArrayLike, Cell, Fast, Key, Params, Shape, State


def unroll(
    cell: Cell,
    params: Params,
    xs: Shaped[ArrayLike, "..."],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    reverse: bool = False,
    time_axis: int | None = None,
    key: Key | None = None,
    zoneout: float = 0.0,
    recurrent_dropout: float = 0.0,
    drop_connect: float = 0.0,
    derivative: Literal["rule", "autodiff"] = "rule",
    memory: Literal["gates", "states", "chunked"] | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
    backend: BackendName | None = None,
) -> tuple[PyTree[Shaped[Array, "..."]], State]:
    """Runs a cell over sequences.

    What stands in padded steps, NaN and inf included, changes no result and no gradient.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        params: its parameters, from `cell.init`.
        xs: the inputs, `[*batch, time, input]`; no batch axis, one, or several. Cells of other
            inputs have other axes after time, e.g. none for tokens.
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
        time_axis: where time stands in `xs`, in `mask`, in `resets` and in the outputs. None is
            right before the axes of one step's input; 0 is time-major, which saves two transposed
            copies.
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
        unroll: steps in one turn of the compiled loop; the kernel has no such turns.
        backend: "xla" is loops that XLA compiles; "cpu" is the compiled kernel, for a plain `gru`
            in float32 on a CPU, by the rule, without zoneout and recurrent dropout; a name raises
            where that backend cannot run. "auto" is the kernel where it can run, and else XLA's
            loops. None is the environment variable GRU_JAX_BACKEND when the call is traced, and
            else "auto". Second derivatives and `jax.export` run XLA's loops. The kernel keeps, with
            `memory="states"` too, the state before each chunk alone, and runs its steps again.

    Returns:
        `(hs, h_last)`: the state after each step, zero in padded ones, and the state after the
        last valid step in the direction of travel, which is `h0` where there is none.

    Raises:
        ValueError: if shapes or dtypes do not fit each other, an option is out of range, or the
            backend that is named cannot run.

    References:
        Krueger et al. (2017) for zoneout, Gal and Ghahramani (2016) for recurrent dropout, Merity
        et al. (2018) for DropConnect on recurrent weights, Chen et al. (2016), "Training deep nets
        with sublinear memory cost", for chunks.
    """
    options = RunOptions(
        zoneout, recurrent_dropout, drop_connect, derivative, memory, chunk_size, unroll, backend
    )
    settings = make_settings("unroll", cell, options, reverse, time_axis)
    xs = as_array("unroll", "xs", xs, "unroll(cell, params, xs)")
    limits = Limits(as_lengths("unroll", lengths), mask, resets, h_reset)
    return _unroll(settings, environment(), params, xs, h0, limits, key)


class Settings(NamedTuple):
    """All that is static in a call."""

    cell: Cell
    options: RunOptions
    reverse: bool
    time_axis: int | None


class Limits(NamedTuple):
    """The boundaries as `unroll` is given them."""

    lengths: ArrayLike | None = None
    mask: ArrayLike | None = None
    resets: ArrayLike | None = None
    h_reset: State | None = None


def make_settings(
    function: str, cell: Cell, options: RunOptions, reverse: bool, time_axis: int | None
) -> Settings:
    """Returns the static part of a call, checked; an error begins with the name of `function`."""
    check_cell(function, cell)
    options = check_options(function, options, reverse)
    check_whole(function, time_axis)
    # Without its initialisers, so that cells that differ in these alone share a program.
    cell = cell._replace(init=None)  # pyright: ignore[reportArgumentType]
    return Settings(cell, options, bool(reverse), time_axis)


# Compiled as a whole, so that a call outside jit is one program, which needs nothing of the host.
@partial(jax.jit, static_argnums=(0, 1))
def _unroll(
    settings: Settings,
    _environment: tuple[str, str],
    params: Params,
    xs: Array,
    h0: State | None,
    limits: Limits,
    key: Key | None,
) -> tuple[PyTree[Array], State]:
    return run_call(prepare("unroll", settings, params, xs, h0, limits, key))


class Call(NamedTuple):
    """A run whose arguments have been checked; all but `choice` are those of `schedule.run`."""

    program: Program
    params: Params
    xs: Array
    h0: State
    boundaries: Boundaries
    key: Key | None
    choice: Choice


def run_call(call: Call) -> tuple[PyTree[Array], State]:
    """Returns the states, zero in padding, and the last of them."""
    return schedule.run(*call[:-1])


def prepare(
    function: str,
    settings: Settings,
    params: Params,
    xs: Array,
    h0: State | None,
    limits: Limits,
    key: Key | None,
) -> Call:
    """Returns the run of `unroll`'s arguments; an error begins with the name of `function`."""
    steps = check_inputs(function, settings.cell, params, xs)
    axis = check_time_axis(function, settings.time_axis, xs, len(steps))
    lengths, mask, resets, h_reset = limits
    if h_reset is not None and resets is None:
        raise ValueError(f"{function}: h_reset must come with resets, got resets None.")
    boundaries = check_boundaries(function, steps, axis, lengths, mask, resets)
    boundaries = boundaries._replace(h_reset=h_reset)
    return _make_call(function, settings, params, xs, h0, boundaries, key, steps, axis)


def prepare_layer(
    function: str,
    settings: Settings,
    params: Params,
    xs: Array,
    h0: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> Call:
    """Returns the run of a layer: its inputs are zero in padding, with time right before them."""
    steps = check_inputs(function, settings.cell, params, xs)
    axis = len(steps) - 1
    call = _make_call(function, settings, params, xs, h0, boundaries, key, steps, axis)
    return call._replace(program=call.program._replace(clean=True))


def _make_call(
    function: str,
    settings: Settings,
    params: Params,
    xs: Array,
    h0: State | None,
    boundaries: Boundaries,
    key: Key | None,
    steps: Shape,
    axis: int,
) -> Call:
    cell, options, reverse, _ = settings
    initial = cell.initial_state(params, xs.shape[:axis] + xs.shape[axis + 1 :])

    def state(name: str, given: State | None) -> State:
        if given is None:
            return initial
        check_state(function, name, given, like=initial)
        return jax.tree.map(jnp.asarray, given)

    h0 = state("h0", h0)
    if boundaries.resets is not None:
        boundaries = boundaries._replace(h_reset=state("h_reset", boundaries.h_reset))
    fast = _fast_form(function, cell, options)
    choice = choose(function, Request(cell, fast, params, options, key is not None))
    if options.derivative == "autodiff":
        fast = fast._replace(derivative=None)
    program = Program(
        fast,
        choice.backend,
        required(options),
        len(steps),
        axis,
        reverse,
        clean=False,
        options=options._replace(backend=None, derivative="rule"),
    )
    return Call(program, params, xs, h0, boundaries, key, choice)


def _fast_form(function: str, cell: Cell, options: RunOptions) -> Fast:
    """Returns the cell's step in parts, which may be the step as it is."""
    if cell.fast is not None and cell.fast.step == cell.step:
        return cell.fast
    for name in ("recurrent_dropout", "drop_connect"):
        if getattr(options, name):
            raise ValueError(
                f"{function}: {name} must be 0 for a cell without fast, whose step does not tell "
                f"what acts on the state, got {getattr(options, name)}."
            )
    return Fast(cell.step, _second, _same, cell.step, _first)


def _same(value: Any) -> Any:
    return value


def _first(value: Any, _: Any) -> Any:
    return value


def _second(_: Any, value: Any) -> Any:
    return value


def split_arguments(
    function: str, cell: Cell, arguments: dict[str, Any]
) -> tuple[Settings, Limits, Key | None]:
    """Returns the arguments of `unroll` that are given by name."""
    known = (*Limits._fields, "reverse", "time_axis", "key", *RunOptions._fields)
    for name in arguments:
        if name not in known:
            raise ValueError(f"{function}: options must be among {', '.join(known)}, got {name}.")

    def take(kind: Any) -> Any:
        return kind(**{name: arguments[name] for name in kind._fields if name in arguments})

    options, limits = take(RunOptions), take(Limits)
    reverse, time_axis = arguments.get("reverse", False), arguments.get("time_axis")
    settings = make_settings(function, cell, options, reverse, time_axis)
    limits = limits._replace(lengths=as_lengths(function, limits.lengths))
    return settings, limits, arguments.get("key")


def make_options(function: str, options: dict[str, Any]) -> RunOptions:
    """Returns options by name; raises a ValueError at a name that is none."""
    for name in options:
        if name not in RunOptions._fields:
            known = ", ".join(RunOptions._fields)
            raise ValueError(f"{function}: options must be among {known}, got {name}.")
    return RunOptions(**options)
