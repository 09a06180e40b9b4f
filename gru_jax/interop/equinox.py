"""Equinox's `GRUCell`: rows r, z, c, z on the old state, one bias a gate, one in the product."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from gru_jax.interop.arrays import floats
from gru_jax.interop.gates import Joined, join, part
from gru_jax.interop.levels import Run, assemble_cell, take_apart
from gru_jax.interop.limits import EQUINOX, check
from gru_jax.types import Cell, Layer, Params

if TYPE_CHECKING:
    import equinox as eqx


def from_equinox(source: "eqx.nn.GRUCell") -> tuple[Cell, Params]:
    """Returns Equinox's cell as ours, bit for bit; without bias, ours are zeros.

    Raises:
        ValueError: if it is something else, or its arrays do not fit each other.
    """
    import equinox as eqx

    if not isinstance(source, eqx.nn.GRUCell):
        kind = type(source).__name__
        raise ValueError(f"from_equinox: source must be an eqx.nn.GRUCell, got a {kind}.")
    hidden = source.hidden_size
    W_x = floats("from_equinox", "weight_ih", source.weight_ih, (3 * hidden, source.input_size))
    W_h = floats("from_equinox", "weight_hh", source.weight_hh, (3 * hidden, hidden))
    b, b_n = jnp.zeros(3 * hidden, W_x.dtype), jnp.zeros(hidden, W_x.dtype)
    if source.bias is not None and source.bias_n is not None:
        b = floats("from_equinox", "bias", source.bias, b.shape)
        b_n = floats("from_equinox", "bias_n", source.bias_n, b_n.shape)
    b_h = jnp.concatenate([jnp.zeros(2 * hidden, b_n.dtype), b_n])
    return assemble_cell(Run(part(Joined(W_x.T, W_h.T, b, b_h), "rzc", old=True, reset="after")))


def to_equinox(net: Cell | Layer, params: Params) -> "eqx.nn.GRUCell":
    """Returns a cell of ours, or a layer that runs it forward, as Equinox's, bit for bit.

    Raises:
        ValueError: where Equinox's cell cannot be this net, and why.
    """
    import equinox as eqx

    levels = take_apart("to_equinox", net, params)
    check("to_equinox", levels, EQUINOX)
    (run,) = levels[0].runs
    W_x, W_h, b_x, b_h = join(run.params, "rzc", old=True)
    cell = eqx.nn.GRUCell(run.input_size, run.hidden_size, dtype=b_x.dtype, key=jax.random.key(0))
    weights = (W_x.T, W_h.T, b_x, b_h[-run.hidden_size :])
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, weights)
