"""Haiku's `GRU` and `LSTM`.

The GRU is the reset="before" form with z on the candidate, as here. Its columns are z, r, c. The
columns of the LSTM are i, g, f, o. The LSTM adds 1 to the pre-activation of f in each step, so its
bias of f is 1 less than here. That difference is rounded, once.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.interop.arrays import floats
from gru_jax.interop.contents import Contents
from gru_jax.interop.gates import Joined, join, part, take
from gru_jax.interop.kinds import GRU, LSTM, CellParams
from gru_jax.interop.limits import HAIKU, levels_within
from gru_jax.interop.names import choose
from gru_jax.interop.stack import Level, Run, assemble
from gru_jax.layers.layer import Layer
from gru_jax.types import ArrayLike, Cell, Params

Modules: TypeAlias = Mapping[str, Mapping[str, ArrayLike]]

ORDERS = {GRU: "zrc", LSTM: "igfo"}
GRU_ARRAYS, LSTM_ARRAYS = ("w_i", "w_h", "b"), ("w", "b")


def from_haiku(params: Modules, *, name: str | None = None) -> tuple[Layer, Params]:
    """Returns Haiku's GRUs or LSTMs as a net of gru_jax, bit for bit but for the bias of f.

    Args:
        params: of one `hk.GRU` or `hk.LSTM`, or of several of one kind that `hk.DeepRNN` runs, by
            the names that Haiku gives them: `{"gru": {"w_i": ..., "w_h": ..., "b": ...},
            "gru_1": ...}` or `{"lstm/linear": {"w": ..., "b": ...}, "lstm_1/linear": ...}`. GRUs by
            other names, take one by one: a dict does not say their order. LSTMs by other names must
            be renamed: their arrays are those of any `hk.Linear`.
        name: among others, of the one to take, e.g. `"encoder/gru"`, or what stands before the
            names of several, e.g. `"encoder"`, if nothing else is there; None takes all or the
            only one.

    Returns:
        The net and its parameters: one layer as it is, more in a stack.

    Raises:
        ValueError: if something else stands there, or arrays do not fit each other.
    """
    return read_modules(params, name)[:2]


def read_modules(params: Modules, name: str | None) -> Contents[Layer]:
    """Returns the net in modules, as `from_haiku` does, and the names of the other arrays."""
    if not isinstance(params, Mapping):
        kind = type(params).__name__
        raise ValueError(f"from_haiku: params must be dicts of arrays by module, got a {kind}.")
    modules = {}  # by the places of their cells
    for module, arrays in params.items():
        names = set(arrays) if isinstance(arrays, Mapping) else set()
        is_lstm = re.fullmatch(r"(?:.*/)?lstm(?:_\d+)?/linear", module)
        if names == set(GRU_ARRAYS) or (is_lstm and names == set(LSTM_ARRAYS)):
            modules[module.removesuffix("/linear") if is_lstm else module] = module
    prefix = "" if name is None else f"{name}/"
    places = {module: place for place, module in modules.items()}
    within = {places.get(module, module) for module in params if module.startswith(prefix)}
    chosen = None
    for kind in ("gru", "lstm"):
        # Counted, since JAX sorts dicts, with gru_10 before gru_2.
        stacked = [f"{prefix}{kind}", *(f"{prefix}{kind}_{n}" for n in range(1, len(within)))]
        if within and within == set(stacked) <= set(modules):
            chosen = stacked
    if chosen is None:
        chosen = [choose("from_haiku", [*modules], name, params, separator="/")]
    levels = [Level((Run(_take(params, modules[place])),)) for place in chosen]
    taken = {modules[place] for place in chosen}
    leftovers = (
        f"{module}/{key}"
        for module, arrays in params.items()
        if module not in taken and isinstance(arrays, Mapping)
        for key in arrays
    )
    return Contents(*assemble("from_haiku", levels), tuple(leftovers))


def _take(params: Modules, module: str) -> CellParams:
    options = {"old": False, "reset": "before"}
    names = GRU_ARRAYS if set(params[module]) == set(GRU_ARRAYS) else LSTM_ARRAYS
    arrays = {f"{module}/{key}": params[module][key] for key in names}
    if names == GRU_ARRAYS:
        return take("from_haiku", arrays, {GRU: ORDERS[GRU]}, **options)
    w, b = arrays.values()
    hidden = max(1, np.size(b) // 4)
    shapes = (max((hidden + 1, *np.shape(w)[:1])), 4 * hidden), (4 * hidden,)
    W, b = (
        floats("from_haiku", key, arrays[key], s) for key, s in zip(arrays, shapes, strict=True)
    )
    joined = Joined(W[:-hidden], W[-hidden:], b, _ones_of_f(hidden, b.dtype))
    return part("from_haiku", joined, ORDERS[LSTM], **options)


def to_haiku(net: Cell | Layer, params: Params) -> dict[str, dict[str, Array]]:
    """Returns a net as the parameters of Haiku's modules, bit for bit but for the bias of f.

    They fit an `hk.GRU` or `hk.LSTM`, or an `hk.DeepRNN` of several of one kind. The names are
    Haiku's: `gru`, `gru_1`, ..., or `lstm/linear`, `lstm_1/linear`, ...

    Raises:
        ValueError: if Haiku's modules cannot compute this net, and why.
    """
    levels = levels_within(HAIKU, "to_haiku", net, params)
    kinds = {level.runs[0].kind.name for level in levels}
    if len(kinds) > 1:
        raise ValueError(
            f"to_haiku: net must have one kind of cell in all layers, got {sorted(kinds)}: the "
            "names of Haiku's modules do not say their order then; convert them one by one."
        )
    modules = {}
    for number, level in enumerate(levels):
        run = level.runs[0]
        W_x, W_h, b, _ = join(run.params, ORDERS[run.kind], old=False)
        name = f"{run.kind.name.lower()}_{number}" if number else run.kind.name.lower()
        if run.kind is GRU:
            modules[name] = {"w_i": W_x, "w_h": W_h, "b": b}
        else:
            b = b - _ones_of_f(run.hidden_size, run.dtype)
            modules[f"{name}/linear"] = {"w": jnp.concatenate([W_x, W_h]), "b": b}
    return modules


def _ones_of_f(hidden: int, dtype: jnp.dtype) -> Array:
    """Returns the numbers that Haiku adds to the pre-activations of i, g, f and o."""
    return jnp.repeat(jnp.array([0, 0, 1, 0], dtype), hidden)
