"""What a module does around its net: one dtype, the time axis, the order of the results."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.layers.layer import Layer, compiled
from gru_jax.sequence.checks import Limits
from gru_jax.types import ArrayLike, Key, Params, State


def run(
    module: Any,
    net: Layer,
    params: Params,
    xs: ArrayLike,
    state: State | None,
    limits: Limits,
    key: Key | None,
) -> tuple[Any, Any]:
    """Runs a net over sequences, with the module's `time_axis` and `carry_first`."""
    results = compiled("run", net, params, xs, state, limits, key, module.time_axis)
    return in_order(module, *results)


def in_order(module: Any, ys: Array, state: State) -> tuple[Any, Any]:
    """Returns outputs and state in the order that the module's `carry_first` says."""
    return (state, ys) if module.carry_first else (ys, state)


def cast(dtype: jax.typing.DTypeLike | None, tree: PyTree[ArrayLike]) -> PyTree[Array]:
    """Returns all arrays in one dtype; None is the one that they are promoted to together."""
    dtype = jnp.result_type(*jax.tree.leaves(tree)) if dtype is None else dtype
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)
