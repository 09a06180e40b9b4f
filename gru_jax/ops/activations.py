"""Activations by name or as functions."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

Activation: TypeAlias = str | Callable[[Array], Array]
"""A name in `ACTIVATIONS`, or an elementwise function that keeps shape and dtype."""

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "linear": jax.nn.identity,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
}
"""By the names that Keras has for them, too.

"hard_sigmoid" is min(max(x / 6 + 1/2, 0), 1), as in Keras 3 and PyTorch; ONNX and Keras 2 have a
slope of 0.2, which a function can say: `lambda x: jnp.clip(0.2 * x + 0.5, 0, 1)`.
"""


def find_activation(function: str, name: str, activation: Activation) -> Callable[[Array], Array]:
    """Returns an activation's function; an error names the caller, `function`, and the argument."""
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise ValueError(
            f"{function}: {name} must be a function or one of {', '.join(ACTIVATIONS)}, "
            f"got {activation!r}."
        )
    return activation
