"""The choice of a backend.

A named backend runs, or raises an error that says why it cannot run. "auto" takes the first backend
of the table that can run. The environment variable GRU_JAX_BACKEND sets the backend for calls that
do not name one. The logger "gru_jax" records each choice at level DEBUG. It warns once if the
kernel is not installed.
"""

import inspect
import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import jax

from gru_jax.sequence.backends import BACKENDS, Request
from gru_jax.sequence.options import RunOptions

VARIABLE = "GRU_JAX_BACKEND"

log = logging.getLogger("gru_jax")


class Choice(NamedTuple):
    """Which code runs a recurrence, and why."""

    backend: str
    reason: str
    """Why earlier rows of the table cannot run, or why this one was chosen."""

    def __str__(self) -> str:
        """Returns the choice as a phrase."""
        kernel, scan = "the compiled kernel", "a parallel scan"
        names = {"cpu": kernel, "gpu": f"{kernel} for GPUs", "scan": scan}
        return names.get(self.backend) or f"XLA's loops: {self.reason}"


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
        if reason is None:
            reason = backend.slower(request, _platform())
        if reason is None and (missing := backend.unavailable()):
            _warn(missing)
            reason = missing.removesuffix(".")
        if reason is None:
            return _told(function, Choice(name, "; ".join(reasons) or "it can run this"))
        if not backend.special:
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
