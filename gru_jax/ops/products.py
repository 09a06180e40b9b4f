"""Products of rows with weights, y = x W + b: the accumulation and the broadcasts live here."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALL = 128
"""Columns of weights that are multiplied side by side."""


class Transposed(NamedTuple):
    """Weights stored transposed, so that the transpose of a product with them is fast."""

    columns: Float[Array, "columns rows"]


def wide(dtype: jax.typing.DTypeLike) -> jnp.dtype:
    """Returns the dtype of sums of many such numbers: float32 or wider."""
    dtype = jnp.dtype(dtype)
    return dtype if dtype.itemsize >= 4 else jnp.dtype(jnp.float32)


def matmul(
    x: Float[Array, "*batch rows"], W: Float[Array, "rows columns"] | Transposed
) -> Float[Array, "*batch columns"]:
    """Returns x W in x's dtype; half precision accumulates in float32."""
    W, rows = (W.columns, 1) if isinstance(W, Transposed) else (W, 0)
    contract = (((x.ndim - 1,), (rows,)), ((), ()))
    y = jax.lax.dot_general(x.astype(W.dtype), W, contract, preferred_element_type=wide(W.dtype))
    return y.astype(x.dtype)


def matmul_each(
    x: Float[Array, "*batch rows"], *weights: Float[Array, "rows columns"]
) -> list[Float[Array, "*batch columns"]]:
    """Returns x W for each of the weights: in one product where they are small.

    There the time goes into starting a product; larger ones run up to 1.5 times as fast apart.
    """
    if weights[0].shape[1] > SMALL:
        return [matmul(x, W) for W in weights]
    return jnp.split(matmul(x, jnp.concatenate(weights, axis=1)), len(weights), axis=-1)


def block_matmul(
    x: Float[Array, "*batch rows"], W: Float[Array, "blocks block columns"]
) -> Float[Array, "*batch blocks columns"]:
    """Returns the product of each block of x, of equal size, with its own weights."""
    blocks, size, _ = W.shape
    x = x.reshape(*x.shape[:-1], blocks, size)
    along = ((x.ndim - 1,), (1,)), ((x.ndim - 2,), (0,))
    y = jax.lax.dot_general(x, W, along, preferred_element_type=wide(W.dtype))
    return jnp.moveaxis(y, 0, -2).astype(x.dtype)


@jax.custom_jvp
def tall_matmul(
    x: Float[Array, "*batch rows"], W: Float[Array, "rows columns"]
) -> Float[Array, "*batch columns"]:
    """Returns x W for an x of many rows: what `matmul` does, with a faster gradient of W."""
    return matmul(x, W)


@tall_matmul.defjvp
def _tall_matmul_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, W), (dx, dW) = primals, tangents
    return tall_matmul(x, W), tall_matmul(dx, W) + matmul_columns(columns(x), dW, x.shape[:-1])


def columns(x: Float[Array, "*batch rows"]) -> Float[Array, "rows cases"]:
    """Returns x with the cases of all batch axes as its columns, written so in memory.

    The gradient of x W with respect to W is then a product of two row-major matrices. On a CPU it
    runs up to 1.5 times as fast as a product that reads x across its rows.
    """
    return jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)


def matmul_columns(
    x_columns: Float[Array, "rows cases"], W: Float[Array, "rows columns"], batch: tuple[int, ...]
) -> Float[Array, "*batch columns"]:
    """Returns x W, [*batch, columns], where `x_columns` is `columns(x)`."""
    contract = (((0,), (0,)), ((), ()))
    y = jax.lax.dot_general(x_columns, W, contract, preferred_element_type=wide(W.dtype))
    return y.astype(W.dtype).reshape(*batch, W.shape[1])


class Products(NamedTuple):
    """The derivatives of the products of a state with weights: matrix products, or convolutions.

    Each function takes one array and any number of weights, and returns a list.

    Attributes:
        tangents: `(dh, *weights) -> [dh W, ...]`; its transpose in dh is fast.
        dweights: `(h, *dweights) -> [h dW, ...]`, for many steps; its transpose in dW is fast.
    """

    tangents: Callable[..., list[Array]]
    dweights: Callable[..., list[Array]]


def _matmul_tangents(dh: Array, *weights: Array | Transposed) -> list[Array]:
    return [matmul(dh, W) for W in weights]


def _matmul_dweights(h: Array, *dweights: Array) -> list[Array]:
    h_columns = columns(h)
    return [matmul_columns(h_columns, dW, h.shape[:-1]) for dW in dweights]


MATMUL = Products(_matmul_tangents, _matmul_dweights)


def add_bias(
    y: Float[Array, "*batch_features"], b: Float[Array, "*features"]
) -> Float[Array, "*batch_features"]:
    """Returns y + b, with b spread over the leading axes (strict rank promotion allows it)."""
    return y + jnp.broadcast_to(b, y.shape)


def scale(
    y: Float[Array, "*batch columns"], u: Float[Array, " columns"]
) -> Float[Array, "*batch columns"]:
    """Returns y * u, with u spread over the leading axes."""
    return y * jnp.broadcast_to(u, y.shape)


def affine(
    x: Float[Array, "*batch rows"], W: Float[Array, "rows columns"], b: Float[Array, " columns"]
) -> Float[Array, "*batch columns"]:
    """Returns x W + b."""
    return add_bias(matmul(x, W), b)
