"""The call of `ScannedRNN`: `(carry, (ins, resets)) -> (carry, ys)`, time first."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.cells.gru_params import GRUParams
from gru_jax.modules.calls import cast
from gru_jax.modules.options import BACKEND, Unbox, make_cell
from gru_jax.ops.checks import check_count
from gru_jax.sequence.checks import as_array
from gru_jax.sequence.unroll import unroll
from gru_jax.training.checks import describe
from gru_jax.types import Shape

CALL = "rnn(carry, (ins, resets))"


def initialize_carry(
    batch_size: int | Shape, hidden_size: int, dtype: jax.typing.DTypeLike = jnp.float32
) -> Float[Array, "*batch hidden"]:
    """Returns the state before the first step: zeros."""
    batch = batch_size if isinstance(batch_size, tuple | list) else (batch_size,)
    return jnp.zeros((*batch, hidden_size), dtype)


def check_scan(
    carry: Any, x: Any, features: int | None, input_size: int | None = None
) -> tuple[Array, Array, Array, int]:
    """Returns carry, ins, resets as booleans, and the number of the state's features.

    Args:
        carry: the state before the first step.
        x: the pair `(ins, resets)`.
        features: of the state; None is the size of the last axis of `ins`.
        input_size: the size that this axis must have; None is any.

    Raises:
        ValueError: if these do not fit each other.
    """
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ValueError(
            f"ScannedRNN: x must be the pair (ins, resets), got {describe(x)}; the call is {CALL}."
        )
    named = {"carry": carry, "ins": x[0], "resets": x[1]}
    carry, ins, resets = (as_array("ScannedRNN", *each, CALL) for each in named.items())
    _check_ins(carry, ins, resets, input_size)
    size = ins.shape[-1] if features is None else features
    check_count("ScannedRNN", "features", size)
    if carry.shape[-1] != size:
        hint = " Without features=..., it has as many as ins." if features is None else ""
        raise ValueError(
            f"ScannedRNN: carry must be {(*carry.shape[:-1], size)}, got {carry.shape}.{hint}"
        )
    steps = ins.shape[:-1]
    if resets.shape != steps or not _is_real(resets):
        swapped = resets.shape == (*steps[1::-1], *steps[2:]) != steps
        hint = " Its axes of time and batch have changed places." if swapped else ""
        raise ValueError(
            f"ScannedRNN: resets must be {steps} booleans or numbers to match the time and batch "
            f"axes of ins, got {resets.shape} {resets.dtype}.{hint}"
        )
    return carry, ins, resets != 0, size


def _check_ins(carry: Array, ins: Array, resets: Array, input_size: int | None) -> None:
    batch, (*steps, last) = carry.shape[:-1], ins.shape or (0,)
    fits = carry.ndim and ins.ndim == carry.ndim + 1 and tuple(steps[1:]) == batch
    if fits and _is_real(ins) and input_size in (None, last):
        return
    hint = ""
    if resets.ndim == ins.ndim + 1:
        hint = f" Have ins and resets changed places? The call is {CALL}."
    elif ins.ndim == carry.ndim:
        hint = " For one step, give ins[None] and resets[None]."
    elif len(steps) > 1 and (steps[0], *steps[2:]) == batch:
        hint = " Its axes of time and batch have changed places."
    needed = ", ".join(map(str, ("time", *batch, input_size or "input")))
    raise ValueError(
        f"ScannedRNN: ins must be real numbers [{needed}] to match the batch axes of carry "
        f"{carry.shape}, got {ins.shape} {ins.dtype}.{hint}"
    )


def _is_real(a: Array) -> bool:
    return any(jnp.issubdtype(a.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def scan(
    options: Any, unbox: Unbox, params: GRUParams, carry: Array, ins: Array, resets: Array
) -> tuple[Float[Array, "*batch hidden"], Float[Array, "time *batch hidden"]]:
    """Runs the cell over time, the first axis, with arguments from `check_scan`.

    Raises:
        ValueError: if `carry` has another dtype than the computation.
    """
    params, ins = cast(options.dtype, (params, ins))
    if carry.dtype != ins.dtype:
        raise ValueError(
            f"ScannedRNN: carry must be {ins.dtype}, as dtype, ins and parameters say, "
            f"got {carry.dtype}."
        )
    run: Any = {name: getattr(options, name) for name in BACKEND}
    ys, carry = unroll(
        make_cell(options, unbox), params, ins, carry, resets=resets, time_axis=0, **run
    )
    return carry, ys
