"""Convolutions of images with weights, y = x * W: stride 1, zero outside the image.

    y[p] = sum over taps t of x[p + t - (kernel - 1) // 2] W[t]

x is [*batch, *space, input] and W is [*kernel, input, output], with as many axes in `kernel` as in
`space`. This is the cross-correlation that all frameworks call convolution, with SAME padding.

XLA's convolutions are fast on a CPU. The transposes that JAX derives from them are not: inside a
loop they take 3 to 8 times as long. So derivatives are sums of matrix products, and their
transposes are matrix products, too.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.ops.products import Products, wide
from gru_jax.types import Shape


@jax.custom_jvp
def convolve(
    x: Float[Array, "*batch_space input"], *weights: Float[Array, "*kernel input output"]
) -> list[Float[Array, "*batch_space output"]]:
    """Returns x * W for each of the weights, in x's dtype; half precision sums in float32.

    All weights side by side take one convolution.
    """
    y = _convolve(x, jnp.concatenate(weights, axis=-1))
    return jnp.split(y, len(weights), axis=-1)


@convolve.defjvp
def _convolve_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[list[Array], list[Array]]:
    (x, *weights), (dx, *dweights) = primals, tangents
    of_x, of_weights = convolve_tangents(dx, *weights), convolve_dweights(x, *dweights)
    return convolve(x, *weights), [a + b for a, b in zip(of_x, of_weights, strict=True)]


def _convolve(x: Array, W: Array) -> Array:
    axes = W.ndim - 2
    letters = "DHW"[3 - axes :]
    y = jax.lax.conv_general_dilated(
        x.reshape(-1, *x.shape[x.ndim - 1 - axes :]).astype(W.dtype),
        W,
        window_strides=(1,) * axes,
        padding=_margins(W),
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        preferred_element_type=wide(W.dtype),
    )
    return y.astype(x.dtype).reshape(*x.shape[:-1], W.shape[-1])


def convolve_tangents(
    dx: Float[Array, "*batch_space input"], *weights: Float[Array, "*kernel input output"]
) -> list[Float[Array, "*batch_space output"]]:
    """Returns dx * W for each of the weights; its transpose in dx is fast."""
    W = jnp.concatenate(weights, axis=-1)
    if dx.ndim > W.ndim:  # Runs step by step: the sums over taps then stay in the cache.
        y = jax.lax.scan(_convolve_next, W, dx)[1]
    else:
        y = _sum_products(dx, W)
    return jnp.split(y.astype(dx.dtype), len(weights), axis=-1)


def _convolve_next(W: Array, dx: Array) -> tuple[Array, Array]:
    return W, _sum_products(dx, W)


def convolve_dweights(
    x: Float[Array, "*batch_space input"], *dweights: Float[Array, "*kernel input output"]
) -> list[Float[Array, "*batch_space output"]]:
    """Returns x * dW for each of the weights; its transpose in dW is fast.

    The taps along the last axis lie side by side: one product for each row of taps.
    """
    dW = jnp.concatenate(dweights, axis=-1)
    *kernel, width, size, output = dW.shape
    axis = x.ndim - 2
    padded = jnp.pad(x, [*[(0, 0)] * axis, _margins(dW)[-1], (0, 0)])
    shifted = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(width)]
    dW = dW.reshape(*kernel, 1, width * size, output)
    y = _sum_products(jnp.concatenate(shifted, axis=-1), dW)
    return jnp.split(y.astype(dW.dtype), len(dweights), axis=-1)


CONVOLUTION = Products(convolve_tangents, convolve_dweights)


def coordinates(space: Shape, dtype: jax.typing.DTypeLike) -> Float[Array, "*space axes"]:
    """Returns each pixel's coordinates, one channel per axis, from -1 to 1; 0 on an axis of one."""
    lines = [jnp.linspace(-1.0, 1.0, size) if size > 1 else jnp.zeros(size) for size in space]
    return jnp.stack(jnp.meshgrid(*lines, indexing="ij"), axis=-1).astype(dtype)


def _margins(W: Array) -> list[tuple[int, int]]:
    """Returns the rows of zeros before and after each space axis."""
    return [((size - 1) // 2, size // 2) for size in W.shape[:-2]]


def _sum_products(
    x: Float[Array, "*batch_space input"], W: Float[Array, "*kernel input output"]
) -> Float[Array, "*batch_space output"]:
    """Returns x * W in float32 or wider, as one matrix product for each tap."""
    *kernel, size, output = W.shape
    first = x.ndim - 1 - len(kernel)
    padded = jnp.pad(x.astype(W.dtype), [*[(0, 0)] * first, *_margins(W), (0, 0)])
    total = jnp.zeros((x.size // size, output), wide(W.dtype))
    for tap in itertools.product(*map(range, kernel)):
        shifted = padded
        for axis, start in enumerate(tap, first):
            shifted = jax.lax.slice_in_dim(shifted, start, start + x.shape[axis], axis=axis)
        # As rows, because a product that sums over several axes is up to 1.5 times as slow.
        rows = shifted.reshape(-1, size)
        total += jnp.matmul(rows, W[tap], preferred_element_type=total.dtype)
    return total.reshape(*x.shape[:-1], output)
