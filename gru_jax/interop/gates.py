"""Where the gates of a GRU stand in other frameworks' arrays, and what their z weighs.

Most put the three gates side by side, in an order of their own, and let z weigh the old state:
h = z h + (1 - z) c. Such weights are ours with those of z negated, since sigmoid(-a) is
1 - sigmoid(a): not one bit is lost. So it is with "hard_sigmoid", and with no other activation. Two
biases of a gate that are only ever added become one; that sum is rounded, once.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.cells.gru_params import GRUParams, split_rows
from gru_jax.interop.arrays import check_dtypes

TURNING = ("hard_sigmoid", "sigmoid")
"""The activations of gates with f(-a) = 1 - f(a): z of these alone can weigh the other state."""


def check_turning(function: str, name: str, activation: str) -> None:
    """Raises unless gates of this activation can be turned round; `name` is theirs."""
    if activation not in TURNING:
        raise ValueError(
            f"{function}: {name} must be {' or '.join(TURNING)} for the gates, got {activation}: "
            "z weighs the candidate here, and of no other function is 1 - f(a) the same as f(-a)."
        )


class Joined(NamedTuple):
    """The gates side by side: what acts on x, what acts on h, and what is added to each."""

    W_x: Float[Array, "input gates"]
    W_h: Float[Array, "hidden gates"]
    b_x: Float[Array, " gates"]
    b_h: Float[Array, " gates"]


def join(params: GRUParams, order: str, *, old: bool) -> Joined:
    """Returns the gates of `params` side by side.

    All biases are in b_x but that of the product inside the candidate; the others in b_h are 0.

    Args:
        params: ours.
        order: of the gates, e.g. `"rzc"`.
        old: whether z is to weigh the old state.
    """
    nothing = jnp.zeros_like(params.b_c)
    gates = []
    for gate in order:
        W, b = getattr(params, f"W_{gate}"), getattr(params, f"b_{gate}")
        if old and gate == "z":
            W, b = -W, -b
        after = gate == "c" and params.b_h is not None
        gates.append((*split_rows(W), b, params.b_h if after else nothing))
    return Joined(*(jnp.concatenate(arrays, axis=-1) for arrays in zip(*gates, strict=True)))


def part(function: str, joined: Joined, order: str, *, old: bool, reset: str) -> GRUParams:
    """Returns ours of what stands side by side in another framework; the other way of `join`.

    Args:
        function: the name to blame in an error.
        joined: theirs.
        order: of their gates, e.g. `"rzc"`.
        old: whether their z weighs the old state.
        reset: "before" or "after", as in `gru`.

    Raises:
        ValueError: if the arrays have several dtypes.
    """
    check_dtypes(function, joined)
    leaves, b_h = {}, None
    for gate, *parts in zip(order, *(jnp.split(a, 3, axis=-1) for a in joined), strict=True):
        W_x, W_h, b, b_state = (-a for a in parts) if old and gate == "z" else parts
        if gate == "c" and reset == "after":
            b_h = b_state
        else:
            # XLA takes numbers below the normal ones for 0 in a sum.
            b = jnp.where(b_state == 0, b, b + b_state)
        leaves |= {f"W_{gate}": jnp.concatenate([W_x, W_h]), f"b_{gate}": b}
    return GRUParams(**leaves, b_h=b_h)
