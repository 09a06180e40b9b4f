"""From the arguments of `unroll` to a run: splits off static parts, checks, chooses the backend.

settings, params, xs, h0, limits, key --prepare--> Call --run_call--> states
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.recurrence.boundaries import Boundaries, check_state
from gru_jax.recurrence.noise import has_state_weights
from gru_jax.sequence import schedule
from gru_jax.sequence.backends import Request
from gru_jax.sequence.checks import (
    Limits,
    as_lengths,
    check_boundaries,
    check_cell,
    check_inputs,
    check_key,
    check_time_axis,
    check_whole,
)
from gru_jax.sequence.choice import Choice, choose, required
from gru_jax.sequence.mesh import whole_rows
from gru_jax.sequence.options import Program, RunOptions, check_options
from gru_jax.types import Cell, Fast, Key, Params, State


class Settings(NamedTuple):
    """The static part of a call."""

    function: str
    """The name that an error begins with."""
    cell: Cell
    options: RunOptions
    reverse: bool
    time_axis: int | None


def make_settings(
    function: str, cell: Cell, options: RunOptions, reverse: bool, time_axis: int | None
) -> Settings:
    """Returns the static part of a call, checked."""
    check_cell(function, cell)
    options = check_options(function, options, reverse)
    check_whole(function, time_axis)
    # Drops the initialisers, so that cells that differ only in these share a program.
    cell = cell._replace(init=None)  # pyright: ignore[reportArgumentType]
    return Settings(function, cell, options, bool(reverse), time_axis)


class Call(NamedTuple):
    """A run with checked arguments: the arguments of `schedule.run`, and `choice`."""

    program: Program
    params: Params
    xs: Array
    h0: State
    boundaries: Boundaries
    key: Key | None
    choice: Choice


def run_call(call: Call) -> tuple[PyTree[Array], State]:
    """Returns the states, zero in padding, and the last state."""
    return schedule.run(*call[:-1])


def prepare(
    settings: Settings,
    params: Params,
    xs: Array,
    h0: State | None,
    limits: Limits | Boundaries,
    key: Key | None,
) -> Call:
    """Checks the arguments of `unroll`, or of a layer's `run`, and returns the run.

    A layer's `Boundaries` have been checked, and its inputs are zero in padding.
    """
    function, cell, options, reverse, time_axis = settings
    check_key(function, key)
    steps = check_inputs(function, cell, params, xs)
    axis = check_time_axis(function, time_axis, xs, len(steps))
    clean = isinstance(limits, Boundaries)
    boundaries = limits if clean else check_boundaries(function, steps, axis, limits)
    x_shape = xs.shape[:axis] + xs.shape[axis + 1 :]
    initial = cell.initial_state(params, x_shape)

    def state(name: str, given: State | None) -> State:
        if given is None:
            return initial
        check_state(function, name, given, like=initial)
        return jax.tree.map(jnp.asarray, given)

    h0 = state("h0", h0)
    if boundaries.resets is not None:
        boundaries = boundaries._replace(h_reset=state("h_reset", boundaries.h_reset))
    fast = _fast_form(function, cell, options)
    for name in ("zoneout", "recurrent_dropout"):
        if getattr(options, name) and not fast.noise:
            raise ValueError(
                f"{function}: {name} must be 0 for {cell}, whose state holds data, "
                f"got {getattr(options, name)}."
            )
    if options.drop_connect:
        packed = jax.eval_shape(lambda p: fast.pack(p, x_shape), params)
        if not has_state_weights(packed):
            raise ValueError(
                f"{function}: drop_connect must be 0 for a cell without weights that act on the "
                f"state, got {options.drop_connect}."
            )
    whole = whole_rows(xs, len(steps), axis)
    request = Request(cell, fast, params, xs.shape[axis], options, key is not None, whole)
    choice = choose(function, request)
    if options.derivative == "autodiff":
        fast = fast._replace(derivative=None)
    program = Program(
        fast,
        choice.backend,
        required(options),
        len(steps),
        axis,
        reverse,
        clean,
        options=options._replace(backend=None, derivative="rule"),
    )
    return Call(program, params, xs, h0, boundaries, key, choice)


def _fast_form(function: str, cell: Cell, options: RunOptions) -> Fast:
    """Returns the cell's step in parts; without `fast`, one part is the whole step."""
    if cell.fast is not None and cell.fast.step == cell.step:
        return cell.fast
    for name in ("recurrent_dropout", "drop_connect"):
        if getattr(options, name):
            raise ValueError(
                f"{function}: {name} must be 0 for a cell without fast, whose step does not tell "
                f"what acts on the state, got {getattr(options, name)}."
            )
    return Fast(cell.step, _second, _first, cell.step, _first)


def _first(value: Any, _: Any) -> Any:
    return value


def _second(_: Any, value: Any) -> Any:
    return value


def split_arguments(
    function: str, cell: Cell, arguments: dict[str, Any]
) -> tuple[Settings, Limits, Key | None]:
    """Sorts the keyword arguments of `unroll` into settings, limits and key."""
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
    """Returns the options, given by name; raises a ValueError at an unknown name."""
    for name in options:
        if name not in RunOptions._fields:
            known = ", ".join(RunOptions._fields)
            raise ValueError(f"{function}: options must be among {known}, got {name}.")
    return RunOptions(**options)
