"""Haiku's `GRU`: the reset="before" form with z on the candidate, as here, columns z, r, c."""

from collections.abc import Mapping
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.interop.arrays import floats
from gru_jax.interop.contents import Contents
from gru_jax.interop.gates import Joined, join, part
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


def read_modules(
    params: Mapping[str, Mapping[str, ArrayLike]], name: str | None
) -> Contents[Layer]:
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
    # JAX sorts dicts, and gru_10 stands before gru_2 then.
    stacked = [
        f"{prefix}gru_{number}" if number else f"{prefix}gru" for number in range(len(within))
    ]
    if not within or not within == set(stacked) <= set(places):
        stacked = [choose("from_haiku", places, name, params, separator="/")]
    levels = []
    for module in stacked:
        arrays = params[module]
        hidden = jnp.shape(arrays["w_h"])[:1]
        needed = {
            "w_i": (*jnp.shape(arrays["w_i"])[:1], *(3 * n for n in hidden)),
            "w_h": (*hidden, *(3 * n for n in hidden)),
            "b": tuple(3 * n for n in hidden),
        }
        W_x, W_h, b = (
            floats("from_haiku", f"{module}/{key}", arrays[key], shape)
            for key, shape in needed.items()
        )
        joined = Joined(W_x, W_h, b, jnp.zeros_like(b))
        levels.append(Level((Run(part("from_haiku", joined, "zrc", old=False, reset="before")),)))
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
