"""The options of a run, and the program that a cell and its options define."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from gru_jax.ops.checks import check_count, is_finite
from gru_jax.types import Fast

BackendName: TypeAlias = Literal["auto", "xla", "scan", "cpu", "gpu"]


class RunOptions(NamedTuple):
    """Options of `unroll` that are the same for every sequence; see `unroll` for their meaning."""

    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    drop_connect: float = 0.0
    derivative: Literal["rule", "autodiff"] = "rule"
    memory: Literal["gates", "states", "chunked"] | None = None
    chunk_size: int | None = None
    unroll: int = 1
    backend: BackendName | None = None


RATES = ("zoneout", "recurrent_dropout", "drop_connect")


class Program(NamedTuple):
    """The static part of a run, which determines the compiled program."""

    fast: Fast
    backend: str
    """A row of `BACKENDS`."""
    required: bool
    """The caller named the backend, so no other may run in its place."""
    axes: int
    """The number of batch and time axes of the inputs."""
    time_axis: int
    reverse: bool
    clean: bool
    """The inputs are zero in padding."""
    options: RunOptions


def check_options(function: str, options: RunOptions, reverse: bool) -> RunOptions:
    """Returns the options, rates as floats; raises a ValueError if one is out of range."""
    for name in RATES:
        rate = getattr(options, name)
        if not is_finite(rate) or not 0 <= rate < 1:
            raise ValueError(f"{function}: {name} must be 0 <= {name} < 1, got {rate!r}.")
    if not isinstance(reverse, bool | np.bool_):
        raise ValueError(f"{function}: reverse must be True or False, got {reverse!r}.")
    if options.derivative not in ("rule", "autodiff"):
        raise ValueError(
            f'{function}: derivative must be "rule" or "autodiff", got {options.derivative!r}.'
        )
    if options.memory not in (None, "gates", "states", "chunked"):
        raise ValueError(
            f'{function}: memory must be "gates", "states" or "chunked", got {options.memory!r}.'
        )
    if options.chunk_size is not None:
        check_count(function, "chunk_size", options.chunk_size)
    check_count(function, "unroll", options.unroll)
    return options._replace(**{name: float(getattr(options, name)) for name in RATES})
