"""Initialisers: plain functions where they have no options, so that equal cells compare equal."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from gru_jax.architecture import bind
from gru_jax.ops.products import wide
from gru_jax.types import Initializer, Key, Shape


def draw(initializer: Initializer, key: Key, shape: Shape, dtype: DTypeLike) -> Array:
    """Returns an initialiser's array, drawn in float32 or wider: QR has no half precision."""
    return initializer(key, shape, wide(dtype)).astype(dtype)


def draw_each(key: Key, dtype: DTypeLike, *arrays: tuple[Initializer, Shape]) -> list[Array]:
    """Returns an array for each initialiser and shape, each from its own key."""
    keys = jax.random.split(key, len(arrays))
    return [draw(init, key, shape, dtype) for key, (init, shape) in zip(keys, arrays, strict=True)]


def init_glorot_uniform(
    key: Key, shape: Shape, dtype: DTypeLike = jnp.float32
) -> Float[Array, "..."]:
    """Returns `jax.nn.initializers.glorot_uniform()`'s values."""
    return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


def init_lecun_normal(
    key: Key, shape: Shape, dtype: DTypeLike = jnp.float32
) -> Float[Array, "..."]:
    """Returns `jax.nn.initializers.lecun_normal()`'s values."""
    return jax.nn.initializers.lecun_normal()(key, shape, dtype)


def init_orthogonal(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Returns `jax.nn.initializers.orthogonal()`'s values."""
    return jax.nn.initializers.orthogonal()(key, shape, dtype)


def init_normal(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Returns standard normal values."""
    return jax.random.normal(key, shape, dtype)


def init_uniform(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Returns values uniform in +-1/sqrt(hidden), where hidden is the last axis.

    PyTorch's choice for every weight and bias of `nn.GRU`: pass it as `kernel_init`,
    `recurrent_init` and `bias_init` of a cell.
    """
    bound = shape[-1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def init_unit_uniform(
    key: Key, shape: Shape, dtype: DTypeLike = jnp.float32
) -> Float[Array, "..."]:
    """Returns values uniform in +-1."""
    return jax.random.uniform(key, shape, dtype, -1, 1)


def init_decay(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Returns rates uniform in [0, 0.1), in a matrix divided by its rows.

    With positive times, exp(-max(0, rate * time)) then begins slow, where max has a gradient.
    """
    bound = 0.1 / (shape[0] if len(shape) > 1 else 1)
    return jax.random.uniform(key, shape, dtype, 0, bound)


def init_chrono(max_time: float, min_time: float = 2.0) -> Initializer:
    """Builds a bias for the update gate that lets units remember for a range of times.

    With z_t = sigmoid(b_z) a unit forgets with the time constant 1/z = 1 + exp(-b_z) steps. Here
    that constant is uniform in [min_time, max_time].

    Args:
        max_time: the longest time constant, in steps: about the longest dependency expected.
        min_time: the shortest, in steps, above 1.

    Returns:
        An initialiser: `gru(64, update_bias_init=init_chrono(600))`.

    Raises:
        ValueError: unless 1 < min_time <= max_time.

    References:
        Tallec and Ollivier (2018), "Can recurrent neural networks warp time?", eq. 16, with
        the sign turned because z weighs the candidate.
    """
    if not 1 < min_time <= max_time:
        raise ValueError(
            "init_chrono: min_time and max_time must be 1 < min_time <= max_time, "
            f"got {min_time} and {max_time}."
        )
    return bind(_draw_chrono, min_time, max_time)


def _draw_chrono(
    min_time: float, max_time: float, key: Key, shape: Shape, dtype: DTypeLike = jnp.float32
) -> Array:
    time = jax.random.uniform(key, shape, dtype, min_time, max_time)
    return -jnp.log(time - 1)
