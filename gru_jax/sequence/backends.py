"""Which code runs a recurrence: one table, tried in order.

    "cpu"   the compiled kernel: a plain GRU in float32 on a CPU, with its own derivative
    "xla"   loops that XLA compiles, anywhere

To add a backend, add a row here and a folder of kernels. A named backend runs, or raises an error
that says why it cannot run. "auto" takes the first backend that can run. The environment variable
GRU_JAX_BACKEND sets the backend for calls that do not name one. The logger "gru_jax" records each
choice at level DEBUG. It warns once if the kernel is not installed.
"""

import inspect
import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.recurrence.loop import scan_states, states
from gru_jax.recurrence.tangent import Plan
from gru_jax.sequence.options import Program, RunOptions
from gru_jax.types import Cell, Fast, Params, State

VARIABLE = "GRU_JAX_BACKEND"

log = logging.getLogger("gru_jax")


class Request(NamedTuple):
    """The properties of a run that decide which backends can run it."""

    cell: Cell
    fast: Fast
    params: Params
    options: RunOptions
    training: bool
    """Whether the run has a key."""
    whole_rows: bool
    """Whether a mesh has Explicit axes that shard no rows."""


class Choice(NamedTuple):
    """Which code runs a recurrence, and why."""

    backend: str
    reason: str
    """Why earlier rows of the table cannot run, or why this one was chosen."""

    def __str__(self) -> str:
        """Returns the choice as a phrase."""
        return "the compiled kernel" if self.backend == "cpu" else f"XLA's loops: {self.reason}"


class Backend(NamedTuple):
    """One way to compute the states of a sequence.

    Attributes:
        obstacle: `(request) -> reason`, a phrase that says why it cannot run; None if it can.
        unavailable: `() -> reason`, a sentence that says why this machine lacks it; None if
            available.
        states: `(program, params, weights, xs, h0, boundaries) -> states`, with time at
            `program.time_axis`. Padded steps carry the state on.
        platform: the only platform on which "auto" takes it; None means any.
        whole: True if one call runs a whole sequence, with time at any axis. False if time must be
            the first axis and long sequences run in chunks.
    """

    obstacle: Callable[[Request], str | None]
    unavailable: Callable[[], str | None]
    states: Callable[..., PyTree[Array]]
    platform: str | None
    whole: bool


def choose(function: str, request: Request) -> Choice:
    """Returns which code runs a recurrence.

    Args:
        function: the name that an error begins with.
        request: the run.

    Raises:
        ValueError: if no backend has this name, or the named backend cannot run.
    """
    name, source = request.options.backend, "backend"
    if name is None:
        name, source = os.environ.get(VARIABLE) or "auto", f"the variable {VARIABLE}"
    check_name(function, name, source)
    if name != "auto":
        backend = BACKENDS[name]
        if obstacle := backend.obstacle(request):
            raise ValueError(
                f'{function}: {source} must be "auto" or "xla" for {obstacle}, got "{name}".'
            )
        if missing := backend.unavailable():
            raise ValueError(
                f'{function}: {source} must be "auto" or "xla", got "{name}": {missing}'
            )
        return _told(function, Choice(name, f"{source} says so"))
    reasons = []
    for name, backend in BACKENDS.items():
        reason = backend.obstacle(request)
        if reason is None and backend.platform not in (None, platform := _platform()):
            reason = f"programs on {platform}"
        if reason is None and (missing := backend.unavailable()):
            _warn(missing)
            reason = missing.removesuffix(".")
        if reason is None:
            return _told(function, Choice(name, "; ".join(reasons) or "it can run this"))
        reasons.append(reason)
    raise AssertionError("the last backend of the table runs everything")


def check_name(function: str, name: str, source: str = "backend") -> None:
    """Raises unless `name` is "auto" or the name of a backend."""
    names = ("auto", *reversed(BACKENDS))
    if name not in names:
        *others, last = (f'"{known}"' for known in names)
        raise ValueError(
            f"{function}: {source} must be {', '.join(others)} or {last}, got {name!r}."
        )


def required(options: RunOptions) -> bool:
    """Returns whether the caller or the environment names a backend."""
    return (options.backend or os.environ.get(VARIABLE) or "auto") != "auto"


def environment() -> tuple[str, str]:
    """Returns the environment variable and the platform; a choice depends on both."""
    return os.environ.get(VARIABLE) or "auto", _platform()


def traced_anew(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the plain function while choices are collected: a cached one makes no choices."""
    return compiled if _choices.get() is None else inspect.unwrap(compiled)


_choices: ContextVar[list[Choice] | None] = ContextVar("choices", default=None)


def collect_choices(trace: Callable[..., Any], *args: Any) -> tuple[Choice, ...]:
    """Returns the choices that a function makes; traces the function without running it."""
    choices: list[Choice] = []
    token = _choices.set(choices)
    try:
        jax.eval_shape(trace, *args)
    finally:
        _choices.reset(token)
    return tuple(choices)


def _told(function: str, choice: Choice) -> Choice:
    if choice.backend == "xla":  # Lowering logs the kernel, which may still fall back.
        log.debug("%s: %s.", function, choice)
    if (choices := _choices.get()) is not None:
        choices.append(choice)
    return choice


@cache
def _warn(missing: str) -> None:
    log.warning("%s XLA's loops run instead; %s=xla says that they are meant.", missing, VARIABLE)


def _platform() -> str:
    """Returns the platform of JAX's default device."""
    device = jax.default_device.value  # or a platform's name, or None
    return getattr(device, "platform", device) or jax.default_backend()


def _xla_states(
    program: Program,
    params: Params,
    weights: PyTree[Array],
    xs: Array,
    h0: State,
    boundaries: Boundaries,
) -> PyTree[Array]:
    fast, reverse, options = program.fast, program.reverse, program.options
    drive = fast.project(params, xs)
    if fast.derivative is not None:
        plan = Plan(fast, reverse, keep=options.memory == "gates", turns=options.unroll)
        return states(plan, weights, drive, h0, boundaries)
    remat = options.memory == "states"
    return scan_states(
        fast, weights, drive, h0, boundaries, reverse=reverse, turns=options.unroll, remat=remat
    )


def _cpu_states(
    program: Program,
    params: Params,
    weights: PyTree[Array],
    xs: Array,
    h0: Array,
    boundaries: Boundaries,
) -> Array:
    operator = _kernels()
    assert program.fast.gru is not None
    params = program.fast.gru(params)
    if program.options.drop_connect:
        params = operator.join(params, weights)
    return operator.states(
        params,
        xs,
        h0,
        boundaries,
        reverse=program.reverse,
        time_axis=program.time_axis,
        required=program.required,
    )


def _cpu_obstacle(request: Request) -> str | None:
    cell, fast, params, options, training, whole_rows = request
    if fast.gru is None:
        return _kind(cell)
    if options.derivative != "rule":
        return f'derivative="{options.derivative}"'
    if options.zoneout:
        return "zoneout"
    if options.recurrent_dropout and training:
        return "recurrent_dropout"
    if whole_rows:
        return "rows that no Explicit axis of the mesh shards"
    dtype = jax.tree.leaves(params)[0].dtype
    return None if dtype == jnp.float32 else f"{dtype} parameters"


def _kind(cell: Cell) -> str:
    """Describes a cell that is not a plain GRU."""
    kind = cell.architecture
    while kind and kind.builder == "learned_initial_state":
        (kind,) = kind.parts
    if kind and kind.builder != "gru":
        return f"a {kind.builder}"
    plain = {"activation": "tanh", "gate_activation": "sigmoid", "clip": None}
    others = [f"{n}={v!r}" for n, v in kind.options if v != plain.get(n, v)] if kind else []
    return f"a gru with {', '.join(others)}" if others else "a cell with functions of its own"


@cache
def _kernels() -> Any:
    """Returns the module that runs the compiled kernel; it needs JAX's internals."""
    from gru_jax.kernels import operator

    return operator


def _cpu_unavailable() -> str | None:
    try:
        return _kernels().reason()
    except Exception as error:  # Any error: this JAX may lack the internals.
        return f"gru_jax's native kernel cannot be used with this JAX: {error!r}."


BACKENDS: dict[str, Backend] = {
    "cpu": Backend(_cpu_obstacle, _cpu_unavailable, _cpu_states, platform="cpu", whole=True),
    "xla": Backend(lambda _: None, lambda: None, _xla_states, platform=None, whole=False),
}
