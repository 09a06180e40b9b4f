"""The behaviour of the gates in a few numbers, computed from a trace.

saturation    share of steps in which a gate is all but shut, or all but open
timescales    steps after which 1/e of a unit's state is left
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.ops.products import wide
from gru_jax.recurrence.boundaries import select
from gru_jax.types import ArrayLike, Trace


class Ends(NamedTuple):
    """Shares of steps that each unit of a gate spends near the ends of its range."""

    low: Float[Array, " hidden"]
    high: Float[Array, " hidden"]


class Saturation(NamedTuple):
    """The ends of each gate; None for a gate that the cell does not have."""

    r: Ends | None
    z: Ends | None
    c: Ends | None


def saturation(trace: Trace, *, margin: float = 0.1) -> Saturation:
    """Counts how often each unit's gates are saturated.

    A gate is low below `margin` and high above 1 - `margin`. The candidate ranges from -1 to 1, so
    its limits are -1 + 2 `margin` and 1 - 2 `margin`. At the ends a gate's gradient is small, and
    the unit acts as a switch.

    Args:
        trace: the trace of one sequence or of many.
        margin: share of the range that counts as an end.

    Returns:
        Shares of the valid steps of all sequences together, from 0 to 1.

    Raises:
        ValueError: unless 0 < margin < 0.5.

    References:
        Karpathy, Johnson and Fei-Fei (2015), "Visualizing and understanding recurrent networks",
        on the gates of an LSTM, with this margin of 0.1.
    """
    _check_trace("saturation", trace)
    if not 0 < margin < 0.5:
        raise ValueError(f"saturation: margin must be 0 < margin < 0.5, got {margin}.")

    def share(counted: Array) -> Array:
        steps = tuple(range(trace.valid.ndim))
        total = select(trace.valid, counted, False).sum(steps, dtype=jnp.float32)
        return total / trace.valid.sum().astype(jnp.float32)

    def ends(gate: ArrayLike | None, low: float, high: float) -> Ends | None:
        if gate is None:
            return None
        return Ends(share(jnp.less(gate, low)), share(jnp.greater(gate, high)))

    return Saturation(
        r=ends(trace.r, margin, 1 - margin),
        z=ends(trace.z, margin, 1 - margin),
        c=ends(trace.c, -1 + 2 * margin, 1 - 2 * margin),
    )


def timescales(trace: Trace) -> Float[Array, "..."]:
    """Returns each unit's memory: the number of steps after which 1/e of its state is left.

    The result has the axes of one state, `[*batch, hidden]`, or `[*batch, *space, channels]`.

    Over steps 1 to T a unit keeps the share (1 - z_1) ... (1 - z_T) of its state. With an equal
    share exp(-1/tau) kept at each step,

        tau = -1 / mean_t log(1 - z_t)

    over the valid steps of each sequence. It is infinite if z is always 0, and NaN without steps. A
    unit with constant z has tau = -1 / log(1 - z), which is about 1/z - 1/2. If z rounds to 1, it
    counts as the largest number below 1 of its dtype. So in half precision tau is coarse for units
    that open wide. Memory through the candidate, or through zoneout, is not counted. A unit may be
    slow in one sequence and fast in another: over sequences, take the median rather than the mean.

    Raises:
        ValueError: if the cell has no update gate.

    References:
        Tallec and Ollivier (2018), "Can recurrent neural networks warp time?", section 2. Mahto et
        al. (2021), "Multi-timescale representation learning in LSTM language models".
    """
    _check_trace("timescales", trace)
    if trace.z is None:
        raise ValueError("timescales: trace must have an update gate z, got None.")
    z = trace.z.astype(wide(trace.z.dtype))
    time, below_1 = trace.valid.ndim - 1, 1 - float(jnp.finfo(trace.z.dtype).eps) / 2
    kept = select(trace.valid, jnp.log1p(-jnp.minimum(z, below_1)), 0).sum(time)
    steps = trace.valid.sum(time).astype(z.dtype)
    steps = steps.reshape(*steps.shape, *[1] * (kept.ndim - time))
    return jnp.broadcast_to(steps, kept.shape) / jnp.abs(kept)


def _check_trace(function: str, trace: Trace) -> None:
    if not isinstance(trace, Trace):
        raise ValueError(
            f"{function}: trace must be a Trace, e.g. traces[0].forward of a net's traces, "
            f"got a {type(trace).__name__}."
        )
