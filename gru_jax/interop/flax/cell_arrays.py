"""One cell's arrays by name, in linen, in nnx and in gru_jax's own Flax modules.

    GRUCell            linen  ir iz in hr hz hn          nnx  dense_i dense_h
    LSTMCell           linen  ii if ig io hi hf hg ho    nnx  ii if_ ig io hi hf hg ho
    OptimizedLSTMCell  linen  ii if ig io hi hf hg ho    nnx  dense_i dense_h

Each part has a kernel. In a GRU, the parts of x and hn have a bias; in an LSTM, the parts of h. z
weighs the old state.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.contents import list_names
from gru_jax.interop.gates import Joined, part, take
from gru_jax.interop.kinds import GRU, LSTM, CellParams, Kind
from gru_jax.interop.stack import make_params

ORDERS = {GRU: "rzc", LSTM: "ifgo"}


class Names(NamedTuple):
    """The names of a cell's parts, in the order of the gates.

    Attributes:
        x: of the parts that act on x.
        h: of the parts that act on the state.
        biased: of the parts with a bias.
    """

    x: tuple[str, ...]
    h: tuple[str, ...]
    biased: tuple[str, ...]


_LSTM_H = ("hi", "hf", "hg", "ho")
LINEN = {
    GRU: Names(("ir", "iz", "in"), ("hr", "hz", "hn"), ("hn", "ir", "iz", "in")),
    LSTM: Names(("ii", "if", "ig", "io"), _LSTM_H, _LSTM_H),
}
NNX_LSTM = Names(("ii", "if_", "ig", "io"), _LSTM_H, _LSTM_H)
"""A part of an `nnx.LSTMCell` cannot be called `if`."""

FUSED = {GRU: "dense_i", LSTM: "dense_h"}
"""The part with the bias in cells of nnx with all gates side by side."""

SEPARATE: list[tuple[Kind, Names]] = [*LINEN.items(), (LSTM, NNX_LSTM)]
"""All cells with a part for each gate."""

OWN = set(GRUParams._fields)
"""The names of a cell's arrays in gru_jax's modules, with b_h or without."""


def is_cell(tree: Any) -> bool:
    """Returns whether it holds a cell's arrays, by their names."""
    if not isinstance(tree, Mapping):
        return False
    known = [{*names.x, *names.h} for _, names in SEPARATE]
    flax = set(tree) in (*known, {"dense_i", "dense_h"})
    return (flax and all(isinstance(each, Mapping) for each in tree.values())) or is_own(tree)


def is_own(tree: Any) -> bool:
    """Returns whether it holds a cell's arrays by gru_jax's names."""
    return isinstance(tree, Mapping) and set(tree) in (OWN, OWN - {"b_h"})


def take_cell(function: str, tree: Mapping[Any, Any]) -> CellParams:
    """Returns the parameters of a cell; `function` is the name to blame in an error.

    Raises:
        ValueError: if there are no such arrays, or they do not fit each other.
    """
    own = is_own(tree)
    flat = tree if own else {f"{k}/{leaf}": a for k in tree for leaf, a in tree[k].items()}
    for name, leaf in flat.items():
        if not hasattr(leaf, "shape"):
            raise ValueError(f"{function}: {name} must be an array, got a {type(leaf).__name__}.")
    if own:
        params = make_params(function, GRU, flat, np.size(flat["b_c"]))
        check_dtypes(function, params)
        return params
    for kind, names in SEPARATE:
        if set(tree) == {*names.x, *names.h}:
            return _take_separate(function, flat, ORDERS[kind], names)
    return _take_fused(function, flat)


def _take_separate(function: str, flat: Mapping[str, Any], order: str, names: Names) -> CellParams:
    hidden = np.size(flat.get(f"{names.h[-1]}/bias", 0))
    inputs = max((1, *np.shape(flat.get(f"{names.x[-1]}/kernel", 0))[:1]))
    shapes: dict[str, tuple[int, ...]] = {f"{name}/bias": (hidden,) for name in names.biased}
    shapes |= {f"{name}/kernel": (inputs, hidden) for name in names.x}
    shapes |= {f"{name}/kernel": (hidden, hidden) for name in names.h}
    if missing := [name for name in shapes if name not in flat]:
        raise ValueError(f"{function}: variables must have {', '.join(missing)}, got none.")
    if unknown := [name for name in flat if name not in shapes]:
        raise ValueError(
            f"{function}: variables must be only those of Flax's own cell, got also "
            f"{list_names(unknown)}."
        )
    arrays = {name: floats(function, name, flat[name], shape) for name, shape in shapes.items()}
    check_dtypes(function, arrays)
    gates = []
    for parts in zip(names.x, names.h, strict=True):
        kernels = [arrays[f"{name}/kernel"] for name in parts]
        biases = [arrays[f"{name}/bias"] for name in parts if name in names.biased]
        gates.append((*kernels, *biases, jnp.zeros_like(biases[0]))[:4])
    joined = Joined(*(jnp.concatenate(each, -1) for each in zip(*gates, strict=True)))
    return part(function, joined, order, old=True, reset="after")


def _take_fused(function: str, flat: Mapping[str, Any]) -> CellParams:
    kind = LSTM if "dense_h/bias" in flat else GRU
    names = ("dense_i/kernel", "dense_h/kernel", f"{FUSED[kind]}/bias")
    if set(flat) != set(names):
        raise ValueError(
            f"{function}: variables must have dense_i/kernel, dense_h/kernel and one bias, "
            "dense_i/bias in a GRU or dense_h/bias in an LSTM, got "
            f"{', '.join(sorted(flat))}."
        )
    arrays = {name: flat[name] for name in names}
    return take(function, arrays, {kind: ORDERS[kind]}, old=True, reset="after")
