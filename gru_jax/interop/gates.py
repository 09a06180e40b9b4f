"""The order of the gates in other frameworks' arrays, and which state a GRU's z weighs.

    GRUParams(W_r, b_r, W_z, ...)   --join-->  Joined([W_r | W_z | W_c], ...)
    LSTMParams(W_i, b_i, W_f, ...)  <--part--  Joined([W_i | W_f | W_g | W_o], ...)

Most frameworks put the gates side by side, in an order of their own, and let z weigh the old state:
h = z h + (1 - z) c. Negating the weights of z swaps the two, since sigmoid(-a) is 1 - sigmoid(a):
not one bit is lost. "hard_sigmoid" has this symmetry, too, and no other activation. The LSTM's
equations are the same everywhere. Two biases of a gate that are only ever added become one; that
sum is rounded, once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gru_jax.cells.params import split_rows
from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.kinds import KINDS, CellParams, Orders
from gru_jax.types import ArrayLike

SYMMETRIC = ("hard_sigmoid", "sigmoid")
"""The activations with f(-a) = 1 - f(a): with these alone z can change the state it weighs."""

SYMMETRY = "of no other function is 1 - f(a) the same as f(-a)"


def check_symmetric(function: str, name: str, activation: str) -> None:
    """Raises unless z with this activation can weigh the other state; `name` is the option's."""
    if activation not in SYMMETRIC:
        raise ValueError(
            f"{function}: {name} must be {' or '.join(SYMMETRIC)} for the gates, got {activation}: "
            f"z weighs the candidate here, and {SYMMETRY}."
        )


class Joined(NamedTuple):
    """The gates side by side: the weights of x and of h, and the biases of each product."""

    W_x: Float[Array, "input gates"]
    W_h: Float[Array, "hidden gates"]
    b_x: Float[Array, " gates"]
    b_h: Float[Array, " gates"]


def join(params: CellParams, order: str, *, old: bool) -> Joined:
    """Returns the gates of `params` side by side.

    b_h holds the bias of the product inside a GRU's candidate, and zeros; b_x holds all others.

    Args:
        params: of the cell.
        order: of the gates, e.g. `"rzc"`.
        old: whether z weighs the old state.
    """
    gates = []
    for gate in order:
        W, b = getattr(params, f"W_{gate}"), getattr(params, f"b_{gate}")
        if old and gate == "z":
            W, b = -W, -b
        b_state = getattr(params, "b_h", None) if gate == "c" else None
        gates.append((*split_rows(W), b, jnp.zeros_like(b) if b_state is None else b_state))
    return Joined(*(jnp.concatenate(arrays, axis=-1) for arrays in zip(*gates, strict=True)))


def part(function: str, joined: Joined, order: str, *, old: bool, reset: str | None) -> CellParams:
    """Returns the parameters of gates that are side by side; undoes `join`.

    Args:
        function: the name to blame in an error.
        joined: the gates.
        order: of the gates, whose letters say the kind of cell.
        old: whether z weighs the old state.
        reset: "before" or "after", as in `gru`; of no effect on an LSTM.

    Raises:
        ValueError: if the arrays have several dtypes.
    """
    check_dtypes(function, joined)
    leaves = {}
    blocks = (jnp.split(array, len(order), axis=-1) for array in joined)
    for gate, *parts in zip(order, *blocks, strict=True):
        W_x, W_h, b, b_state = (-a for a in parts) if old and gate == "z" else parts
        if gate == "c" and reset == "after":
            leaves["b_h"] = b_state
        else:
            # XLA takes numbers below the normal ones for 0 in a sum.
            b = jnp.where(b_state == 0, b, b + b_state)
        leaves |= {f"W_{gate}": jnp.concatenate([W_x, W_h]), f"b_{gate}": b}
    kind = next(kind for kind in KINDS.values() if kind.gates == set(order))
    return kind.params(**leaves)


def take(
    function: str,
    arrays: Mapping[str, ArrayLike],
    orders: Orders,
    *,
    old: bool,
    reset: str,
    rows: bool = False,
) -> CellParams:
    """Returns the parameters in a framework's arrays, after checks of their shapes.

    Args:
        function: the name to blame in an error.
        arrays: by name, in the order of `Joined`; biases at the end may be absent, for zeros.
        orders: of the gates of each kind of cell; the arrays are of the kind whose count of gates
            fits the most of them.
        old: as in `part`.
        reset: as in `part`.
        rows: whether the gates are rows of the weights, not columns.

    Raises:
        ValueError: if the arrays do not fit each other.
    """
    axis = slice(1, None) if rows else slice(1)
    inputs, hidden = (max((1, *np.shape(a)[axis])) for a in [*arrays.values()][:2])
    sizes = [np.shape(a)[slice(1) if rows else slice(-1, None)] for a in arrays.values()]
    order = max(orders.values(), key=lambda order: sizes.count((len(order) * hidden,)))
    gates = len(order) * hidden
    shapes = ((inputs, gates), (hidden, gates), (gates,), (gates,))
    W_x, W_h, *b = (
        floats(function, name, array, shape[::-1] if rows else shape)
        for (name, array), shape in zip(arrays.items(), shapes, strict=False)
    )
    zeros = jnp.zeros(gates, W_x.dtype)
    joined = Joined(*((W_x.T, W_h.T) if rows else (W_x, W_h)), *[*b, zeros, zeros][:2])
    return part(function, joined, order, old=old, reset=reset)
