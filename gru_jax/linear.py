"""Products of rows with weights, y = x W + b: the accumulation and the one broadcast live here."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def matmul(
    x: Float[Array, "*batch rows"], W: Float[Array, "rows columns"]
) -> Float[Array, "*batch columns"]:
    """Returns x W in x's dtype; half precision accumulates in float32."""
    accumulator = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.matmul(x, W, preferred_element_type=accumulator).astype(x.dtype)


def add_bias(
    y: Float[Array, "*batch columns"], b: Float[Array, " columns"]
) -> Float[Array, "*batch columns"]:
    """Returns y + b, with b spread over the leading axes (strict rank promotion allows it)."""
    return y + jnp.broadcast_to(b, y.shape)


def affine(
    x: Float[Array, "*batch rows"], W: Float[Array, "rows columns"], b: Float[Array, " columns"]
) -> Float[Array, "*batch columns"]:
    """Returns x W + b."""
    return add_bias(matmul(x, W), b)
