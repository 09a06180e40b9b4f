"""One cell's arrays by name, in linen, in nnx and in gru_jax's own Flax modules."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.gates import Joined, part, take
from gru_jax.interop.stack import make_params

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
        params = make_params(function, flat, np.size(flat["b_c"]))
        check_dtypes(function, params)
        return params
    return (_take_linen if set(tree) == LINEN else _take_nnx)(function, flat)


def _take_linen(function: str, flat: Mapping[str, Any]) -> GRUParams:
    hidden = np.size(flat.get("hn/bias", 0))
    inputs = max((1, *np.shape(flat.get("in/kernel", 0))[:1]))
    shapes = dict.fromkeys(("hn/bias", "ir/bias", "iz/bias", "in/bias"), (hidden,))
    shapes |= {f"i{gate}/kernel": (inputs, hidden) for gate in "rzn"}
    shapes |= {f"h{gate}/kernel": (hidden, hidden) for gate in "rzn"}
    if missing := [name for name in shapes if name not in flat]:
        raise ValueError(f"{function}: variables must have {', '.join(missing)}, got none.")
    b_n, *arrays = (floats(function, name, flat[name], shape) for name, shape in shapes.items())
    b_x, W_x, W_h = (jnp.concatenate(arrays[i : i + 3], -1) for i in (0, 3, 6))
    joined = Joined(W_x, W_h, b_x, jnp.pad(b_n, (2 * hidden, 0)))
    return part(function, joined, "rzc", old=True, reset="after")


def _take_nnx(function: str, flat: Mapping[str, Any]) -> GRUParams:
    names = ("dense_i/kernel", "dense_h/kernel", "dense_i/bias")
    if set(flat) != set(names):
        raise ValueError(
            f"{function}: variables must have dense_i/kernel, dense_i/bias and dense_h/kernel "
            f"alone, got {', '.join(sorted(flat))}."
        )
    arrays = {name: flat[name] for name in names}
    return take(function, arrays, "rzc", old=True, reset="after")
