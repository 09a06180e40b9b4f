"""One cell's arrays by name, in linen, in nnx and in gru_jax's own Flax modules."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.gates import Joined, part

LINEN, NNX = {"ir", "iz", "in", "hr", "hz", "hn"}, {"dense_i", "dense_h"}
"""The names of a cell's parts in Flax's libraries."""
OWN = set(GRUParams._fields)
"""The names of a cell's arrays in gru_jax's modules, with b_h or without."""


def is_cell(tree: Any) -> bool:
    """Returns whether it holds a cell's arrays, by their names."""
    if not isinstance(tree, Mapping):
        return False
    flax = set(tree) in (LINEN, NNX) and all(isinstance(each, Mapping) for each in tree.values())
    return flax or is_own(tree)


def is_own(tree: Any) -> bool:
    """Returns whether it holds a cell's arrays by gru_jax's names."""
    return isinstance(tree, Mapping) and set(tree) in (OWN, OWN - {"b_h"})


def take_cell(function: str, tree: Mapping[Any, Any]) -> GRUParams:
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
        return _take_own(function, flat)
    return (_take_linen if set(tree) == LINEN else _take_nnx)(function, flat)


def _take_own(function: str, flat: Mapping[str, Any]) -> GRUParams:
    hidden = np.size(flat["b_c"])
    shapes = {"W": (max(hidden + 1, _rows(flat["W_c"])), hidden), "b": (hidden,)}
    params = {n: floats(function, n, leaf, shapes[n[0]]) for n, leaf in flat.items()}
    check_dtypes(function, params)
    return GRUParams(**params)


def _take_linen(function: str, flat: Mapping[str, Any]) -> GRUParams:
    hidden, inputs = np.size(flat.get("hn/bias", 0)), _rows(flat.get("in/kernel"))

    def take(gate: str, leaf: str) -> Any:
        rows = inputs if gate.startswith("i") else hidden
        name, shape = f"{gate}/{leaf}", (hidden,) if leaf == "bias" else (rows, hidden)
        if name not in flat:
            raise ValueError(f"{function}: variables must have {name}, got none.")
        return floats(function, name, flat[name], shape)

    b_n = take("hn", "bias")
    joined = Joined(
        jnp.concatenate([take(f"i{gate}", "kernel") for gate in "rzn"], 1),
        jnp.concatenate([take(f"h{gate}", "kernel") for gate in "rzn"], 1),
        jnp.concatenate([take(f"i{gate}", "bias") for gate in "rzn"]),
        jnp.pad(b_n, (2 * b_n.size, 0)),
    )
    return part(function, joined, "rzc", old=True, reset="after")


def _take_nnx(function: str, flat: Mapping[str, Any]) -> GRUParams:
    names = ("dense_i/kernel", "dense_h/kernel", "dense_i/bias")
    if set(flat) != set(names):
        raise ValueError(
            f"{function}: variables must have dense_i/kernel, dense_i/bias and dense_h/kernel "
            f"alone, got {', '.join(sorted(flat))}."
        )
    inputs, hidden = (_rows(flat[name]) for name in names[:2])
    shapes = ((inputs, 3 * hidden), (hidden, 3 * hidden), (3 * hidden,))
    W_x, W_h, b = (
        floats(function, name, flat[name], shape) for name, shape in zip(names, shapes, strict=True)
    )
    return part(function, Joined(W_x, W_h, b, jnp.zeros_like(b)), "rzc", old=True, reset="after")


def _rows(leaf: Any) -> int:
    """Returns the rows of weights, at least 1."""
    return max((1, *np.shape(leaf)[:1]))
