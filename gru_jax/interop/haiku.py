"""Haiku's `GRU`: the reset="before" form with z on the candidate, as here, columns z, r, c."""

from collections.abc import Mapping
from typing import TypeAlias

from jaxtyping import Array

from gru_jax.interop.contents import Contents
from gru_jax.interop.gates import join, take
from gru_jax.interop.limits import HAIKU, levels_within
from gru_jax.interop.names import choose
from gru_jax.interop.stack import Level, Run, assemble
from gru_jax.layers.layer import Layer
from gru_jax.types import ArrayLike, Cell, Params

Modules: TypeAlias = Mapping[str, Mapping[str, ArrayLike]]


def from_haiku(params: Modules, *, name: str | None = None) -> tuple[Layer, Params]:
    """Returns Haiku's GRUs as a net of gru_jax, bit for bit.

    Args:
        params: of one `hk.GRU`, or of several that `hk.DeepRNN` runs, by the names that Haiku
            gives them: `{"gru": {"w_i": ..., "w_h": ..., "b": ...}, "gru_1": ...}`. By other
            names, take them one by one: a dict does not say their order.
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
    """Returns the GRUs among modules, as `from_haiku` does, and the names of the other arrays."""
    if not isinstance(params, Mapping):
        kind = type(params).__name__
        raise ValueError(f"from_haiku: params must be dicts of arrays by module, got a {kind}.")
    places = [
        module
        for module, arrays in params.items()
        if isinstance(arrays, Mapping) and set(arrays) == {"w_i", "w_h", "b"}
    ]
    prefix = "" if name is None else f"{name}/"
    within = {module for module in params if module.startswith(prefix)}
    # Counted, since JAX sorts dicts, with gru_10 before gru_2.
    stacked = [f"{prefix}gru", *(f"{prefix}gru_{number}" for number in range(1, len(within)))]
    if not within or not within == set(stacked) <= set(places):
        stacked = [choose("from_haiku", places, name, params, separator="/")]
    levels = []
    for module in stacked:
        arrays = {f"{module}/{key}": params[module][key] for key in ("w_i", "w_h", "b")}
        levels.append(Level((Run(take("from_haiku", arrays, "zrc", old=False, reset="before")),)))
    leftovers = (
        f"{module}/{key}"
        for module, arrays in params.items()
        if module not in stacked and isinstance(arrays, Mapping)
        for key in arrays
    )
    return Contents(*assemble("from_haiku", levels), tuple(leftovers))


def to_haiku(net: Cell | Layer, params: Params) -> dict[str, dict[str, Array]]:
    """Returns a net as the parameters of `hk.GRU`, or of a `hk.DeepRNN` of them, bit for bit.

    The modules are named as Haiku names them: `gru`, `gru_1`, ...

    Raises:
        ValueError: if Haiku's GRU cannot compute this net, and why.
    """
    modules = {}
    for number, level in enumerate(levels_within(HAIKU, "to_haiku", net, params)):
        W_x, W_h, b, _ = join(level.runs[0].params, "zrc", old=False)
        modules[f"gru_{number}" if number else "gru"] = {"w_i": W_x, "w_h": W_h, "b": b}
    return modules
