"""Which code runs a recurrence: loops that XLA compiles, or the kernel that is compiled already.

    "xla"    XLA's, anywhere
    "cpu"    the kernel: a plain GRU in float32 on a CPU, by its own derivative
    "auto"   the kernel where it can be and JAX's default device is a CPU, else XLA's

The log "gru_jax" says at level DEBUG what is chosen: XLA's loops here, at each call; the kernel
where a program is made, where it may still turn out that it cannot be. That it is not installed is
said once, as a warning.

The environment variable GRU_JAX_BACKEND says so for calls that do not.
"""

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from gru_jax.cells.gru import gru
from gru_jax.cells.gru_params import GRUParams
from gru_jax.cells.learned_initial_state import learned_initial_state
from gru_jax.kernels.cpu import library
from gru_jax.recurrence.noise import Rates
from gru_jax.types import Cell, Params

VARIABLE = "GRU_JAX_BACKEND"

Backend: TypeAlias = Literal["auto", "xla", "cpu"]
TakeParams: TypeAlias = Callable[[Params], GRUParams]

log = logging.getLogger("gru_jax")


class Choice(NamedTuple):
    """Which code runs a recurrence, and why."""

    kernel: TakeParams | None
    """Takes the kernel's parameters out of the cell's; None where XLA's loops run."""
    why: str = ""
    """Why they do, as words to go on with: ", for zoneout"."""

    def __str__(self) -> str:
        """Returns it in a phrase."""
        return "the compiled kernel" if self.kernel else f"XLA's loops{self.why}"


def choose(
    function: str,
    backend: str | None,
    cell: Cell,
    params: Params,
    rates: Rates,
    *,
    derivative: str,
    training: bool,
) -> Choice:
    """Returns which code runs a recurrence.

    Args:
        function: the name to blame in an error.
        backend: one of the three; None is what the environment variable says, or "auto".
        cell: the recurrence.
        params: its parameters, of the inputs' dtype.
        rates: of what is random.
        derivative: "rule" or "autodiff".
        training: whether there is a key.

    Raises:
        ValueError: if `backend` is none of the three, or the kernel, and that cannot run.
    """
    source = "backend"
    if backend is None:
        source, backend = f"the variable {VARIABLE}", os.environ.get(VARIABLE) or "auto"
    check_name(function, backend, source)
    if backend == "xla":
        why = f", as {source} says"
    elif obstacle := _obstacle(cell, params, rates, derivative, training):
        if backend == "cpu":
            raise ValueError(
                f'{function}: {source} must be "auto" or "xla" for {obstacle}, got "cpu".'
            )
        why = f", for {obstacle}"
    elif backend == "auto" and (platform := _platform()) != "cpu":
        why = f", for programs on {platform}"
    elif missing := library.reason():
        if backend == "cpu":
            raise ValueError(f'{function}: {source} must be "auto" or "xla", got "cpu": {missing}')
        _warn(missing)
        why = f". {missing.removesuffix('.')}"
    else:
        return Choice(_KERNELS[_functions(cell)])
    log.debug("%s: XLA's loop runs%s.", function, why)
    return Choice(None, why)


def check_name(function: str, backend: str, source: str = "backend") -> None:
    """Raises unless it is one of the three."""
    if backend not in ("auto", "xla", "cpu"):
        raise ValueError(f'{function}: {source} must be "auto", "xla" or "cpu", got {backend!r}.')


def _platform() -> str:
    """Returns where programs run whose arguments do not say."""
    device = jax.default_device.value  # or its platform's name, or None
    return getattr(device, "platform", device) or jax.default_backend()


@cache
def _warn(missing: str) -> None:
    log.warning("%s XLA's loops run instead; %s=xla says that they are meant.", missing, VARIABLE)


def _obstacle(
    cell: Cell, params: Params, rates: Rates, derivative: str, training: bool
) -> str | None:
    """Returns what the kernel cannot do, whatever the machine."""
    dtype = jax.tree.leaves(params)[0].dtype
    if _functions(cell) not in _KERNELS:
        return _kind(cell)
    if derivative != "rule":
        return f'derivative="{derivative}"'
    if rates.zoneout:
        return "zoneout"
    if rates.recurrent_dropout and training:
        return "recurrent_dropout"
    return None if dtype == jnp.float32 else f"{dtype} parameters"


def _kind(cell: Cell) -> str:
    """Returns what a cell is that is not the kernel's."""
    kind = cell.architecture
    while kind and kind.builder == "learned_initial_state":
        (kind,) = kind.parts
    if kind and kind.builder != "gru":
        return f"a {kind.builder}"
    plain = {"activation": "tanh", "gate_activation": "sigmoid", "clip": None}
    odd = [f"{n}={v!r}" for n, v in kind.options if v != plain.get(n, v)] if kind else []
    return f"a gru with {', '.join(odd)}" if odd else "a cell with functions of its own"


def _functions(cell: Cell) -> tuple:
    """Returns what makes a cell's numbers: where one is replaced, the kernel is another cell's."""
    return cell.project, cell.pack, cell.gates, cell.mix, cell.rule


_KERNELS: dict[tuple, TakeParams] = {}
for _cell in (gru(1), gru(1, reset="after")):
    _KERNELS[_functions(_cell)] = lambda params: params
    _KERNELS[_functions(learned_initial_state(_cell))] = lambda params: params.cell
