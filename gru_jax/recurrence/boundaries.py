"""What interferes with single steps: padding, resets, zoneout, recurrent dropout.

    h_{t-1} --enter--> (seen, h) --gates, mix--> h_next --leave--> h_t

`enter` and `leave` are linear in the states, so derivatives of states pass through them unchanged.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from gru_jax.types import State

# Plain indexing would check the bounds, at the cost of a whole buffer for each step, and the sign.
at = partial(jax.lax.dynamic_index_in_dim, keepdims=False, allow_negative_indices=False)
put = partial(jax.lax.dynamic_update_index_in_dim, axis=0, allow_negative_indices=False)


class Bounds(NamedTuple):
    """What interferes with the steps of a sequence; None is nothing.

    The first three have the time axis in front, or none where they are one step's.
    """

    valid: Bool[Array, "*steps"] | None = None
    """False steps are padding: they leave the state as it was."""
    resets: Bool[Array, "*steps"] | None = None
    """True steps begin from `h_reset`."""
    hold: PyTree[Array] | None = None
    """Zoneout, like the state: True features stay as they were; a number is their share."""
    h_reset: State | None = None
    drop: PyTree[Float[Array, "*batch hidden"]] | None = None
    """Recurrent dropout: what the gates see of the state is multiplied by this."""

    def at(self, t: Array | int) -> "Bounds":
        """Returns those of one step."""
        steps = jax.tree.map(lambda a: at(a, t) if a.ndim else a, self[:3])
        return self._replace(**dict(zip(self._fields, steps, strict=False)))


def enter(bounds: Bounds, h: State) -> tuple[State, State]:
    """Returns the state that the gates see and the one that is carried on."""
    if (resets := bounds.resets) is not None:
        h = jax.tree.map(lambda h, new: select(resets, new, h), h, bounds.h_reset)
    if bounds.drop is None:
        return h, h
    return jax.tree.map(lambda h, d: jnp.broadcast_to(d, h.shape) * h, h, bounds.drop), h


def leave(bounds: Bounds, h: State, h_next: State) -> State:
    """Returns the state after the step that took h to h_next."""

    def one(h: Array, h_next: Array, hold: Array) -> Array:
        if hold.dtype == jnp.bool_:
            return jnp.where(hold, h, h_next)
        return hold * h + (1 - hold) * h_next

    if bounds.hold is not None:
        h_next = jax.tree.map(one, h, h_next, bounds.hold)
    if (valid := bounds.valid) is not None:
        h_next = jax.tree.map(lambda old, new: select(valid, new, old), h, h_next)
    return h_next


def select(chosen: Bool[Array, "..."], these: Array, those: Array | float) -> Array:
    """Returns `these` where `chosen`, which has the leading axes of the result, else `those`."""
    shape = max(jnp.shape(these), jnp.shape(those), key=len)
    axes = tuple(range(chosen.ndim))
    these, those = (jnp.broadcast_to(a, shape) for a in (these, those))
    return jnp.where(jax.lax.broadcast_in_dim(chosen, shape, axes), these, those)


def entries(
    resets: Bool[Array, "*steps"], valid: Bool[Array, "*steps"] | None, reverse: bool
) -> Bool[Array, "*steps"]:
    """Returns where the loop puts the state back, before it reads the step.

    A reset in padding is none. Backwards, the segment that ends before a reset is entered at its
    last valid step: where the next valid step in time has the reset.
    """
    if valid is not None:
        resets = resets & valid
    if not reverse:
        return resets
    none = jnp.zeros_like(resets[:1])
    if valid is None:
        return jnp.concatenate([resets[1:], none])
    time = resets.shape[0]
    t = jax.lax.broadcasted_iota(jnp.int32, resets.shape, 0)
    next_valid = jax.lax.cummin(jnp.where(valid, t, time), axis=0, reverse=True)
    next_valid = jnp.concatenate([next_valid[1:], jnp.full_like(next_valid[:1], time)])
    return valid & jnp.take_along_axis(jnp.concatenate([resets, none]), next_valid, axis=0)
