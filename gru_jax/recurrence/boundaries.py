"""Boundaries: padding, resets, zoneout, recurrent dropout.

    h_{t-1} --enter--> (seen, h) --gates, mix--> h_next --leave--> h_t

`enter` and `leave` are linear in the states, so derivatives of states pass through them unchanged.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from gru_jax.types import State, Tree

# Plain indexing also checks the sign and the bounds; the latter costs a whole buffer each step.
at = partial(jax.lax.dynamic_index_in_dim, keepdims=False, allow_negative_indices=False)
put = partial(jax.lax.dynamic_update_index_in_dim, axis=0, allow_negative_indices=False)


class Boundaries(NamedTuple):
    """Padding, resets and noise of a sequence, each None if absent.

    `valid` and `resets` have the batch and time axes of the inputs, or only the batch axes for a
    single step. Loops hold them with time in front. The last two are noise, which a run draws
    itself.
    """

    valid: Bool[Array, "*steps"] | None = None
    """False steps are padding: they leave the state unchanged."""
    resets: Bool[Array, "*steps"] | None = None
    """True steps begin from `h_reset`."""
    h_reset: State | None = None
    hold: PyTree[Array] | None = None
    """Zoneout, one entry for each feature: True keeps the old value; a number is the share kept."""
    drop: PyTree[Float[Array, "*batch hidden"]] | None = None
    """Recurrent dropout: a factor for the state that the gates see."""

    def at(self, t: Array | int) -> "Boundaries":
        """Returns the boundaries of step t; `self` has time in front."""
        valid, resets, hold = jax.tree.map(
            lambda a: at(a, t) if a.ndim else a, (self.valid, self.resets, self.hold)
        )
        return self._replace(valid=valid, resets=resets, hold=hold)


def enter(boundaries: Boundaries, h: State) -> tuple[State, State]:
    """Returns the state that the gates see, and the state that the loop carries."""
    if (resets := boundaries.resets) is not None:
        h = jax.tree.map(lambda h, new: select(resets, new, h), h, boundaries.h_reset)
    if boundaries.drop is None:
        return h, h
    # The derivative's states are in float32 or wider, whatever the dtype of the masks.
    return jax.tree.map(
        lambda h, d: jnp.broadcast_to(d, h.shape).astype(h.dtype) * h, h, boundaries.drop
    ), h


def leave(boundaries: Boundaries, h: State, h_next: State) -> State:
    """Returns the state after the step that took h to h_next."""

    def one(h: Array, h_next: Array, hold: Array) -> Array:
        if not jnp.issubdtype(h.dtype, jnp.inexact):  # Counters and flags are not held.
            return h_next
        if hold.dtype == jnp.bool_:
            return jnp.where(hold, h, h_next)
        hold = hold.astype(h.dtype)
        return hold * h + (1 - hold) * h_next

    if boundaries.hold is not None:
        h_next = jax.tree.map(one, h, h_next, boundaries.hold)
    if (valid := boundaries.valid) is not None:
        h_next = jax.tree.map(lambda old, new: select(valid, new, old), h, h_next)
    return h_next


def select(chosen: Bool[Array, "..."], these: Array, those: Array | float) -> Array:
    """Returns `these` where `chosen`, else `those`; `chosen` has the result's leading axes."""
    if isinstance(those, bool | int | float):
        # In the dtype of `these`, for 0 would make integers of booleans, and placed as they are.
        those = jnp.full_like(these, those)
    shape = max(jnp.shape(these), jnp.shape(those), key=len)
    axes = tuple(range(chosen.ndim))
    sharding = jax.typeof(these).sharding
    explicit = sharding if sharding.mesh.explicit_axes and shape == these.shape else None
    chosen = jax.lax.broadcast_in_dim(chosen, shape, axes, out_sharding=explicit)
    these, those = (jnp.broadcast_to(a, shape) for a in (these, those))
    return jnp.where(chosen, these, those)


def entries(
    resets: Bool[Array, "*steps"],
    valid: Bool[Array, "*steps"] | None,
    reverse: bool,
    time_axis: int,
) -> Bool[Array, "*steps"]:
    """Returns the steps at which the loop resets the state, before it reads the input.

    Resets in padding are ignored. In reverse, the loop enters the segment before a reset at the
    segment's last valid step, so the reset moves there.
    """
    if valid is not None:
        resets = resets & valid
    if not reverse:
        return resets
    time = resets.shape[time_axis]
    part = partial(jax.lax.slice_in_dim, axis=time_axis)
    none = jnp.zeros_like(part(resets, 0, 1))
    if valid is None:
        return jnp.concatenate([part(resets, 1, time), none], time_axis)
    t = jax.lax.broadcasted_iota(jnp.int32, resets.shape, time_axis)
    next_valid = jax.lax.cummin(jnp.where(valid, t, time), axis=time_axis, reverse=True)
    end = jnp.full_like(part(next_valid, 0, 1), time)
    next_valid = jnp.concatenate([part(next_valid, 1, time), end], time_axis)
    padded = jnp.concatenate([resets, none], time_axis)
    return valid & jnp.take_along_axis(padded, next_valid, axis=time_axis)


def vary_alike(tree: Tree, *others: Any) -> Tree:
    """Makes all arrays vary over the same axes of a mesh; changes nothing outside `shard_map`.

    If an array is the same on all devices and is used with one that varies, its gradient is a sum
    over devices. A loop's carry must be declared as varying before the loop.
    """
    leaves, structure = jax.tree.flatten(tree)
    varying = list(map(_varying, leaves))
    union = frozenset().union(*varying, *map(_varying, jax.tree.leaves(others)))
    return jax.tree.unflatten(
        structure,
        [
            jax.lax.pcast(a, tuple(union - own), to="varying") if union - own else a
            for a, own in zip(leaves, varying, strict=True)
        ],
    )


def _varying(a: Array) -> frozenset[Any]:
    return jax.typeof(a).manual_axis_type.varying


def check_state(function: str, name: str, state: PyTree[Any], like: PyTree[Any]) -> None:
    """Raises unless two states have the same tree of shapes and dtypes."""
    needed, got = (
        jax.tree.map(lambda leaf: f"{jnp.shape(leaf)} {jnp.result_type(leaf)}", tree)
        for tree in (like, state)
    )
    if needed != got or jax.tree.structure(like) != jax.tree.structure(state):
        raise ValueError(f"{function}: {name} must be {needed}, got {got}.")
