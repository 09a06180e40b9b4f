"""Layers on the images of each step, `[*batch, time, *space, channels]`."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer, zero_padding
from gru_jax.layers.pointwise import constant, free_input, no_params, no_state, run_each, same_size
from gru_jax.ops.activations import Activation, find_activation
from gru_jax.ops.checks import check_count, check_dtype, check_kernel, check_kind, check_space
from gru_jax.ops.convolutions import convolve
from gru_jax.ops.initializers import draw_each, init_glorot_uniform
from gru_jax.ops.products import add_bias
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.types import Initializer, Input, Key, Params, Shape, State, exportable


@exportable
class ConvParams(NamedTuple):
    """Weights and bias of `conv`."""

    W: Float[Array, "*kernel input output"]
    b: Float[Array, " output"]


@buildable
def conv(
    channels: int,
    kernel_size: tuple[int, ...] = (3, 3),
    *,
    activation: Activation = "linear",
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Convolves each step's image: activation(x * W + b); zero in padded steps.

    The image keeps its size: stride 1, and zero outside the image, as in `conv_gru`.

    Args:
        channels: the number of output channels.
        kernel_size: the kernel's size on each space axis: one, two or three axes.
        activation: a name in `activations.ACTIVATIONS` or a function.
        dtype: the dtype of parameters, and so of inputs and results.
        kernel_init: initialises W.
        bias_init: initialises b.

    Raises:
        ValueError: if an option is out of range.
    """
    check_count("conv", "channels", channels)
    kernel, dtype = check_kernel("conv", kernel_size), check_dtype("conv", dtype)
    find_activation("conv", "activation", activation)
    advance = bind(_advance_conv, activation)
    return Layer(
        init=bind(_init_conv, int(channels), kernel, dtype, kernel_init, bias_init),
        output_size=bind(constant, int(channels)),
        run=bind(run_each, advance),
        initial_state=no_state,
        advance=advance,
        input=bind(_input_conv, int(channels), kernel),
    )


def _init_conv(
    channels: int,
    kernel: Shape,
    dtype: jax.typing.DTypeLike,
    kernel_init: Initializer,
    bias_init: Initializer,
    key: Key,
    input_size: int,
) -> ConvParams:
    check_count("conv", "input_size", input_size)
    weights = kernel_init, (*kernel, input_size, channels)
    return ConvParams(*draw_each(key, dtype, weights, (bias_init, (channels,))))


def _advance_conv(
    activation: Activation, params: ConvParams, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    check_space("conv", x.shape[1 - params.W.ndim : -1])
    (y,) = convolve(x, params.W)
    y = find_activation("conv", "activation", activation)(add_bias(y, params.b))
    return zero_padding(y, boundaries), state


def _input_conv(channels: int, kernel: Shape, params: ConvParams) -> Input:
    check_kind("conv: params must be ConvParams", params, ConvParams)
    W, b = params
    if W.ndim != len(kernel) + 2 or W.shape != (*kernel, W.shape[-2], channels):
        expected = ", ".join(map(str, (*kernel, "input", channels)))
        raise ValueError(f"conv: params.W must be [{expected}] to match the layer, got {W.shape}.")
    if b.shape != (channels,) or b.dtype != W.dtype:
        raise ValueError(
            f"conv: params.b must be {(channels,)} {W.dtype} to match params.W {W.shape}, "
            f"got {b.shape} {b.dtype}."
        )
    return Input((*(None,) * len(kernel), W.shape[-2]))


@buildable
def pool_space(kind: Literal["mean", "max"] = "mean", axes: int = 2) -> Layer:
    """Removes the space axes: one vector for each step, the "mean" or the "max" of each channel.

    Args:
        kind: what to take over all pixels.
        axes: the number of space axes.

    Raises:
        ValueError: if an option is out of range.
    """
    if kind not in ("mean", "max"):
        raise ValueError(f'pool_space: kind must be "mean" or "max", got {kind!r}.')
    check_count("pool_space", "axes", axes)
    advance = bind(_advance_pool, kind, int(axes))
    return Layer(
        init=no_params,
        output_size=same_size,
        run=bind(run_each, advance),
        initial_state=no_state,
        advance=advance,
        input=bind(free_input, int(axes) + 1),
    )


def _advance_pool(
    kind: str, axes: int, params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    del params, boundaries  # Padding is zero, and so are its mean and its maximum.
    check_space("pool_space", x.shape[-1 - axes : -1])
    over = tuple(range(-1 - axes, -1))
    return x.mean(over) if kind == "mean" else x.max(over), state
