"""The parameters of a convolutional GRU: their shapes, their initial values, and their checks.

W_* is [*kernel, joint, channels]: its first input channels act on x, its last `channels` on the
state.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.cells.gru_params import init_gru_params
from gru_jax.cells.params import InitOptions, check_features
from gru_jax.ops.checks import check_count, check_kernel, check_kind, check_space
from gru_jax.ops.initializers import draw_each
from gru_jax.types import Initializer, Input, Key, Params, Shape, exportable


@exportable
class ConvGRUParams(NamedTuple):
    """Weights and biases of a convolutional GRU; input channels come first in W_*.

    Some are None: `b_h` with reset="before", X_* without coordinates, g_* without a norm.
    """

    W_r: Float[Array, "*kernel joint channels"]
    b_r: Float[Array, " channels"]
    W_z: Float[Array, "*kernel joint channels"]
    b_z: Float[Array, " channels"]
    W_c: Float[Array, "*kernel joint channels"]
    b_c: Float[Array, " channels"]
    b_h: Float[Array, " channels"] | None = None
    X_r: Float[Array, "*kernel axes channels"] | None = None
    X_z: Float[Array, "*kernel axes channels"] | None = None
    X_c: Float[Array, "*kernel axes channels"] | None = None
    g_r: Float[Array, " channels"] | None = None
    g_z: Float[Array, " channels"] | None = None
    g_c: Float[Array, " channels"] | None = None


class Form(NamedTuple):
    """The options of `conv_gru` that determine the shapes of parameters and inputs."""

    channels: int
    kernel: Shape
    reset: str
    coordinates: bool
    context: bool
    norm: str | None

    @property
    def context_size(self) -> int:
        """Returns the channels of the context."""
        return 3 * self.channels * self.context


def check_kernels(kernel_size: Any, separable: bool) -> tuple[Shape, ...]:
    """Returns the kernels that one step applies in turn; raises if they are not kernels."""
    if not separable:
        return (check_kernel("conv_gru", kernel_size),)
    if not isinstance(kernel_size, tuple) or not any(isinstance(k, tuple) for k in kernel_size):
        kernel = check_kernel("conv_gru", kernel_size)
        axes = range(len(kernel))
        return tuple(
            tuple(kernel[axis] if axis == own else 1 for axis in axes) for own in reversed(axes)
        )
    kernels = tuple(check_kernel("conv_gru", kernel) for kernel in kernel_size)
    if len({len(kernel) for kernel in kernels}) > 1:
        raise ValueError(
            f"conv_gru: kernel_size must list kernels with as many axes, got {kernel_size}."
        )
    return kernels


def init_params(
    options: InitOptions,
    form: Form,
    update_bias_init: Initializer | None,
    key: Key,
    input_size: int,
) -> ConvGRUParams:
    """Returns the initial parameters."""
    channels, kernel, reset, *_ = form
    size = input_size - form.context_size
    if size < 1:
        check_count("conv_gru", "input_size", input_size)
        raise ValueError(
            f"conv_gru: input_size must be above {form.context_size}, the channels of the context, "
            f"got {input_size}."
        )
    key, key_X = jax.random.split(key)
    params = ConvGRUParams(
        *init_gru_params("conv_gru", options, reset, update_bias_init, key, size, kernel)
    )
    if form.coordinates:
        maps = [(options.kernel_init, (*kernel, len(kernel), channels))] * 3
        X_r, X_z, X_c = draw_each(key_X, options.dtype, *maps)
        params = params._replace(X_r=X_r, X_z=X_z, X_c=X_c)
    if form.norm:
        g_r, g_z, g_c = jnp.ones((3, channels), options.dtype)
        params = params._replace(g_r=g_r, g_z=g_z, g_c=g_c)
    return params


def initial_state(
    axes: int, params: ConvGRUParams, x_shape: Shape
) -> Float[Array, "*batch_space channels"]:
    """Returns zeros, the state before the first step."""
    check_space("conv_gru", x_shape[-1 - axes : -1])
    return jnp.zeros((*x_shape[:-1], params.W_r.shape[-1]), params.W_r.dtype)


def check_params(form: Form, params: Params) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell."""
    check_kind("conv_gru: params must be ConvGRUParams", params, ConvGRUParams)
    channels, kernel, reset, *_ = form
    W_r = params.W_r
    if W_r is None:
        raise ValueError("conv_gru: params.W_r must be an array, got None.")
    if W_r.ndim != len(kernel) + 2 or W_r.shape != (*kernel, W_r.shape[-2], channels):
        expected = ", ".join(map(str, (*kernel, "joint", channels)))
        raise ValueError(
            f"conv_gru: params.W_r must be [{expected}] to match the cell, got {W_r.shape}."
        )
    present = {"b_h": reset == "after", "X": form.coordinates, "g": form.norm is not None}
    shapes = {"W": W_r.shape, "b": (channels,), "X": (*kernel, len(kernel), channels)}
    for name, leaf in params._asdict().items():
        if not present.get(name, present.get(name[0], True)):
            expected = None
        else:
            expected = f"{shapes.get(name[0], (channels,))} {W_r.dtype}"
        got = None if leaf is None else f"{leaf.shape} {leaf.dtype}"
        if expected != got:
            raise ValueError(
                f"conv_gru: params.{name} must be {expected} to match the cell and params.W_r "
                f"{W_r.shape}, got {got}."
            )
    return Input((*(None,) * len(kernel), _input_size(form, W_r)))


def check_step(form: Form, params: ConvGRUParams, x: Array, h: Array) -> None:
    """Raises unless x and h are one step's input and state for these parameters."""
    W_r = params.W_r
    for name, value, size in (("x", x, _input_size(form, W_r)), ("h", h, form.channels)):
        check_features("conv_gru", name, value, size, "params.W_r", W_r, len(form.kernel))
    if x.shape[:-1] != h.shape[:-1]:
        raise ValueError(
            f"conv_gru: h must have the batch and space axes of x {x.shape}, got {h.shape}."
        )


def _input_size(form: Form, W_r: Array) -> int:
    return W_r.shape[-2] - form.channels + form.context_size
