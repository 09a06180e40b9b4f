"""Equinox's `GRUCell` and `LSTMCell`.

The rows of the GRU are in the order r, z, c, with z on the old state, one bias a gate, and one in
the product. The rows of the LSTM are in the order i, f, g, o, with one bias a gate.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gru_jax import files
from gru_jax.interop.arrays import floats
from gru_jax.interop.contents import Contents, damaged
from gru_jax.interop.gates import join, take
from gru_jax.interop.kinds import GRU, LSTM
from gru_jax.interop.limits import EQUINOX, levels_within
from gru_jax.interop.stack import Run, assemble_cell
from gru_jax.layers.layer import Layer
from gru_jax.types import ArrayLike, Cell, Params

if TYPE_CHECKING:
    import equinox as eqx


ORDERS = {GRU: "rzc", LSTM: "ifgo"}


def from_equinox(source: "eqx.nn.GRUCell | eqx.nn.LSTMCell") -> tuple[Cell, Params]:
    """Returns Equinox's cell as one of gru_jax, bit for bit; without bias, the biases are zeros.

    Raises:
        ValueError: if it is something else, or its arrays do not fit each other.
    """
    import equinox as eqx

    if type(source) not in (eqx.nn.GRUCell, eqx.nn.LSTMCell):  # A subclass's call may be another.
        needed, got = "an eqx.nn.GRUCell or LSTMCell", type(source).__name__
        raise ValueError(f"from_equinox: source must be {needed}, got a {got}.")
    biases = [bias for bias in (source.bias, getattr(source, "bias_n", None)) if bias is not None]
    return _convert(source.weight_ih, source.weight_hh, *biases)


def _convert(weight_ih: ArrayLike, weight_hh: ArrayLike, *biases: ArrayLike) -> tuple[Cell, Params]:
    arrays = {"weight_ih": weight_ih, "weight_hh": weight_hh}
    if biases:
        arrays["bias"], *bias_n = biases
        for bias in bias_n:
            b_n = floats("from_equinox", "bias_n", bias, np.shape(weight_hh)[-1:])
            arrays["bias_n"] = jnp.pad(b_n, (2 * b_n.size, 0))
    run = Run(take("from_equinox", arrays, ORDERS, old=True, reset="after", rows=True))
    if run.kind is GRU and len(biases) == 1:
        raise ValueError("from_equinox: bias_n of a GRUCell must be an array, got none.")
    return assemble_cell(run)


def to_equinox(net: Cell | Layer, params: Params) -> "eqx.nn.GRUCell | eqx.nn.LSTMCell":
    """Returns a cell, or a layer that runs it forward, as Equinox's cell, bit for bit.

    Raises:
        ValueError: if Equinox's cell cannot compute this net, and why.
    """
    import equinox as eqx

    ((run,), *_), *_ = levels_within(EQUINOX, "to_equinox", net, params)
    W_x, W_h, b_x, b_h = join(run.params, ORDERS[run.kind], old=True)
    build = eqx.nn.GRUCell if run.kind is GRU else eqx.nn.LSTMCell
    cell = build(run.input_size, run.hidden_size, dtype=run.dtype, key=jax.random.key(0))
    weights = (W_x.T, W_h.T, b_x, *([b_h[-run.hidden_size :]] if run.kind is GRU else []))
    names = ("weight_ih", "weight_hh", "bias", "bias_n")[: len(weights)]
    return eqx.tree_at(lambda c: [getattr(c, name) for name in names], cell, weights)


def read_equinox(path: Path, name: str | None) -> Contents[Cell]:
    """Returns the cell that `eqx.tree_serialise_leaves` wrote, alone, to a file.

    The format has no end: a file cut just behind its second array reads as a cell without bias. The
    kind of cell is told by the count of its rows.
    """
    if name is not None:
        raise ValueError(f"read: name must be None, for {path} holds a single cell, got {name!r}.")
    files.check_size(path)
    try:
        arrays = []
        with path.open("rb") as file:
            while file.peek(1):
                arrays.append(np.load(file, allow_pickle=False))
        if len(arrays) not in (2, 3, 4):
            raise ValueError(f"it must hold 2, 3 or 4 arrays, got {len(arrays)}")
        # NumPy has no name for bfloat16.
        arrays = [a.view(jnp.bfloat16) if a.dtype == "V2" else a for a in arrays]
        return Contents(*_convert(*arrays))
    except Exception as error:  # NumPy raises many kinds
        needed = "a whole eqx.nn.GRUCell or LSTMCell, as tree_serialise_leaves writes it"
        raise damaged("read", path, needed, error) from error


def write_equinox(path: Path, net: Cell | Layer, params: Params) -> None:
    """Writes a cell as `eqx.tree_serialise_leaves` does, atomically."""
    import equinox as eqx

    cell = to_equinox(net, params)
    buffer = io.BytesIO()  # To a path, Equinox would add its ending.
    eqx.tree_serialise_leaves(buffer, cell)
    files.write(path, lambda beside: beside.write_bytes(buffer.getvalue()))
