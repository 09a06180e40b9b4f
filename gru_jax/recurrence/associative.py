"""The states of a recurrence that is linear in the state, all steps in parallel.

    h_t = a_t h_{t-1} + b_t,      (a_2, b_2) after (a_1, b_1) = (a_1 a_2, a_2 b_1 + b_2)

Two steps in turn are a step of the same form, so `jax.lax.associative_scan` computes all states.
Its rounds grow with the logarithm of the number of steps. Boundaries are steps of that form, too:
padding is a = 1, b = 0; a reset is a = 0, b = a_t h_reset + b_t. The products of a lie between 0
and 1, so plain numbers are stable, for states of either sign.

References:
    Blelloch (1990), "Prefix sums and their applications". Martin and Cundy (2018), "Parallelizing
    linear recurrent neural nets over sequence length".
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.ops.products import wide
from gru_jax.recurrence.boundaries import Boundaries, select


def scan_affine(
    a: Float[Array, "..."],
    b: Float[Array, "..."],
    h0: Float[Array, "..."],
    boundaries: Boundaries,
    *,
    reverse: bool,
    time_axis: int,
) -> Float[Array, "..."]:
    """Returns the state after each step, carried through padding.

    Args:
        a: the factor of the old state, for each step.
        b: the new part, for each step.
        h0: the state before the first step.
        boundaries: with time at `time_axis`; recurrent dropout has no meaning here.
        reverse: run from the last step to the first.
        time_axis: the position of time in `a` and `b`.
    """
    dtype, (valid, resets, h_reset, hold, _) = a.dtype, boundaries
    a, b, h0 = (array.astype(wide(dtype)) for array in (a, b, h0))
    if hold is not None:  # A share of the old state, or all of it where a mask is True.
        share = jnp.broadcast_to(hold, a.shape).astype(a.dtype)
        a, b = share + (1 - share) * a, (1 - share) * b
    if resets is not None:
        assert h_reset is not None
        new = jnp.broadcast_to(jnp.expand_dims(h_reset, time_axis), b.shape).astype(b.dtype)
        a, b = select(resets, 0 * a, a), b + select(resets, a * new, 0)
    if valid is not None:
        a, b = select(valid, a, 1), select(valid, b, 0)
    first = (slice(None),) * time_axis + ((-1,) if reverse else (0,))
    b = b.at[first].add(a[first] * h0)
    scan = partial(jax.lax.associative_scan, reverse=reverse, axis=time_axis)
    return scan(_compose, (a, b))[1].astype(dtype)


def _compose(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
    (a_1, b_1), (a_2, b_2) = earlier, later
    return a_1 * a_2, a_2 * b_1 + b_2
