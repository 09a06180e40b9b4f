"""The convolutional GRU: the state is an image, and the products are convolutions.

With * for a convolution and [x, h] for channels side by side:

    r_t = sigmoid([x_t, h_{t-1}] * W_r + b_r)
    z_t = sigmoid([x_t, h_{t-1}] * W_z + b_z)
    c_t = tanh([x_t, r_t h_{t-1}] * W_c + b_c)                             (reset="before")
    c_t = tanh(x_t * W_cx + b_c + r_t (h_{t-1} * W_ch + b_h))              (reset="after")
    h_t = (1 - z_t) h_{t-1} + z_t c_t

With coordinates (CoordConv), each sum gains p * X, where p has one channel for each space axis,
the pixel's coordinate from -1 to 1. Neither time nor the state changes p * X, so it is computed
once. With context, each sum gains an image from the input.

With norm="layer", N(a) has mean 0 and variance 1 over space and channels together. The gains g have
one entry per channel; z is as r:

    r_t = sigmoid(g_r N([x_t, h_{t-1}] * W_r + p * X_r + context) + b_r)
    c_t = tanh(g_c N(x_t * W_cx + r_t (h_{t-1} * W_ch + b_h) + ...) + b_c)     (reset="after")

References:
    Ballas et al. (2016), "Delving deeper into convolutional networks for learning video
    representations". Liu et al. (2018), "An intriguing failing of convolutional neural networks
    and the CoordConv solution". Gaud, Harish and Krishna (2019), "Object parsing in sequences using
    CoordConv gated recurrent networks", with z on the old state. Lipson, Teed and Deng (2021),
    "RAFT-Stereo", for the context.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells import gru
from gru_jax.cells.conv_gru_params import (
    ConvGRUParams,
    Form,
    check_kernels,
    check_params,
    check_step,
    init_params,
    initial_state,
)
from gru_jax.cells.gru_derivative import derivative
from gru_jax.cells.gru_params import check_reset
from gru_jax.cells.in_turn import in_turn
from gru_jax.cells.params import InitOptions, check_options, split_rows
from gru_jax.ops.activations import Activation, find_activation
from gru_jax.ops.checks import check_flag
from gru_jax.ops.convolutions import (
    CONVOLUTION,
    convolve,
    convolve_dweights,
    convolve_tangents,
    coordinates,
)
from gru_jax.ops.initializers import init_glorot_uniform, init_orthogonal
from gru_jax.ops.normalization import check_epsilon, normalize
from gru_jax.ops.products import add_bias
from gru_jax.types import Cell, Fast, Initializer, LinearRecurrence, Shape, exportable


class ConvDrive(NamedTuple):
    """The part of a step that needs no state: the channels to convolve, and the context."""

    x: Float[Array, "*batch_space input"]
    context: tuple[Float[Array, "*batch_space channels"], ...] | None


class ConvWeights(NamedTuple):
    """The fields of `gru.StateWeights`; for r, z and c: the weights of x, the maps, the gains."""

    U_r: Float[Array, "*kernel channels channels"]
    U_z: Float[Array, "*kernel channels channels"]
    U_c: Float[Array, "*kernel channels channels"]
    b_r: Float[Array, " channels"]
    b_z: Float[Array, " channels"]
    b_c: Float[Array, " channels"]
    b_h: Float[Array, " channels"] | None
    V: tuple[Float[Array, "*kernel input channels"], ...]
    maps: tuple[Float[Array, "*space channels"], ...] | None
    gains: tuple[Float[Array, " channels"], ...] | None


@exportable
class ConvGates(NamedTuple):
    """The fields of `gru.GRUGates`, and the input."""

    r: Float[Array, "*batch_space channels"]
    z: Float[Array, "*batch_space channels"]
    c: Float[Array, "*batch_space channels"]
    q: Float[Array, "*batch_space channels"] | None
    x: Float[Array, "*batch_space input"]


@buildable
def conv_gru(
    channels: int,
    kernel_size: tuple[int, ...] | tuple[tuple[int, ...], ...] = (3, 3),
    *,
    reset: Literal["before", "after"] = "before",
    coordinates: bool = False,
    context: bool = False,
    norm: Literal["layer"] | None = None,
    separable: bool = False,
    activation: Activation = "tanh",
    epsilon: float = 1e-6,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    update_bias_init: Initializer | None = None,
) -> Cell:
    """Builds the convolutional GRU cell.

    Inputs are `[*batch, time, *space, input]`, states `[*batch, *space, channels]`. The same
    parameters serve any height and width.

    Args:
        channels: channels of the state.
        kernel_size: the kernel's size on each space axis: one, two or three axes. Outside the image
            everything is zero. An even kernel reaches one pixel further towards higher indices.
        reset: where the reset gate acts, as in `gru`.
        coordinates: adds the pixels' coordinates to each gate (CoordConv); free in the loop.
        context: the last 3 * channels of the input are not convolved, but added to the
            pre-activations of r, z and c, in this order.
        norm: "layer" normalises each gate's pre-activation over space and channels.
        separable: applies a GRU for each axis in turn within one time step, last axis first, as in
            RAFT: (5, 5) runs kernels of (1, 5) and (5, 1). `kernel_size` may also list the kernels
            themselves, ((1, 5), (5, 1)). The parameters are a tuple of `ConvGRUParams`.
        activation: the activation of the candidate, as in `gru`.
        epsilon: a small number added to each variance.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the weights of x and of the coordinates, for each gate separately.
        recurrent_init: initialises the weights of h, for each gate separately.
        bias_init: initialises every bias.
        update_bias_init: initialises b_z in place of `bias_init`.

    Returns:
        The cell; its parameters are `ConvGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Ballas et al. (2016), eqs. 7-10; Gaud, Harish and Krishna (2019) for coordinates and norm.
    """
    flags = {"coordinates": coordinates, "context": context, "separable": separable}
    for name, flag in flags.items():
        check_flag("conv_gru", name, flag)
    kernels = check_kernels(kernel_size, separable)
    dtype = check_options("conv_gru", channels, dtype, "channels")
    check_reset("conv_gru", reset)
    if norm not in (None, "layer"):
        raise ValueError(f'conv_gru: norm must be None or "layer", got {norm!r}.')
    epsilon = check_epsilon("conv_gru", epsilon)
    options = InitOptions(channels, dtype, kernel_init, recurrent_init, bias_init)
    plain = norm is None and find_activation("conv_gru", "activation", activation) == jnp.tanh
    gates_of = bind(gates, epsilon, activation)
    cells = []
    for kernel in kernels:
        form = Form(int(channels), kernel, reset, coordinates, context, norm)
        one_step = bind(step, form, gates_of)
        rule = rule_of_images(reset) if plain else None
        cells.append(
            Cell(
                init=bind(init_params, options, form, update_bias_init),
                initial_state=bind(initial_state, len(kernel)),
                step=one_step,
                fast=Fast(one_step, project, pack, gates_of, mix, rule),
                input=bind(check_params, form),
            )
        )
    return in_turn(*cells) if separable else cells[0]


def step(
    form: Form,
    gates: Callable[..., ConvGates],
    params: ConvGRUParams,
    x: Float[Array, "*batch_space input"],
    h: Float[Array, "*batch_space channels"],
) -> Float[Array, "*batch_space channels"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step(form, params, x, h)
    return mix(gates(pack(params, x.shape), project(params, x), h), h)


def project(params: ConvGRUParams, xs: Float[Array, "*batch_space input"]) -> ConvDrive:
    """Returns the channels to convolve, and the context.

    The loop convolves them together with the state. The results for all steps would be three times
    as large as all states. On a CPU, writing them takes longer than the convolutions.
    """
    size = params.W_r.shape[-2] - params.W_r.shape[-1]
    context = tuple(jnp.split(xs[..., size:], 3, axis=-1)) if xs.shape[-1] > size else None
    return ConvDrive(xs[..., :size], context)


def pack(params: ConvGRUParams, x_shape: Shape) -> ConvWeights:
    """Returns the weights of the state and of x, the biases, and the maps of the coordinates."""
    weights = params.W_r, params.W_z, params.W_c
    (V_r, U_r), (V_z, U_z), (V_c, U_c) = map(split_rows, weights)
    maps: Any = None
    gains: Any = None
    if params.X_r is not None:
        place = coordinates(x_shape[1 - params.W_r.ndim : -1], params.X_r.dtype)
        maps = tuple(convolve(place, params.X_r, params.X_z, params.X_c))
    if params.g_r is not None:
        gains = tuple(params[-3:])
    biases = params.b_r, params.b_z, params.b_c, params.b_h
    return ConvWeights(U_r, U_z, U_c, *biases, (V_r, V_z, V_c), maps, gains)


def gates(
    epsilon: float,
    activation: Activation,
    weights: ConvWeights,
    drive: ConvDrive,
    h: Float[Array, "*batch_space channels"],
) -> ConvGates:
    """Returns the gates from the drive and the old state."""
    U_r, U_z, U_c, b_r, b_z, b_c, b_h, V, maps, gains = weights
    x, context = drive

    def activate(gate: int, function: Callable[[Array], Array], a: Array, b: Array) -> Array:
        if maps is not None:
            a = add_bias(a, maps[gate])
        if context is not None:
            a = a + context[gate]
        if gains is not None:
            a = normalize(a, gains[gate], epsilon, axes=U_r.ndim - 1)
        return function(add_bias(a, b))

    W_r, W_z, W_c = (
        jnp.concatenate(parts, axis=-2) for parts in zip(V, (U_r, U_z, U_c), strict=True)
    )
    a_r, a_z = convolve(jnp.concatenate([x, h], -1), W_r, W_z)
    r = activate(0, jax.nn.sigmoid, a_r, b_r)
    z = activate(1, jax.nn.sigmoid, a_z, b_z)
    q = None if b_h is None else add_bias(convolve(h, U_c)[0], b_h)
    if q is None:
        (a_c,) = convolve(jnp.concatenate([x, r * h], -1), W_c)
    else:
        a_c = convolve(x, V[2])[0] + r * q
    c = activate(2, find_activation("conv_gru", "activation", activation), a_c, b_c)
    return ConvGates(r, z, c, q, x)


def mix(
    gates: ConvGates, h: Float[Array, "*batch_space channels"]
) -> Float[Array, "*batch_space channels"]:
    """Returns h_t from the gates and h_{t-1}."""
    return gru.hidden_state(h, gates.z, gates.c)


def rule_of_images(reset: str) -> LinearRecurrence:
    """Returns the GRU's derivative with convolutions for products."""
    rule = derivative(reset, CONVOLUTION)
    return LinearRecurrence(bind(coefficients, rule), bind(source, rule), bind(propagate, rule))


def coefficients(rule: LinearRecurrence, gates: ConvGates, seen: Array, h: Array) -> Any:
    """Returns the GRU's coefficients, and the input, on which the weights' gradient depends."""
    r, z, c, q, x = gates
    return rule.coefficients(gru.GRUGates(r, z, c, q), seen, h), x


def source(
    rule: LinearRecurrence,
    weights: ConvWeights,
    k: Any,
    seen: Array,
    dweights: ConvWeights,
    ddrive: ConvDrive,
) -> Float[Array, "*batch_space channels"]:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    k, x = k
    of_x = convolve_tangents(ddrive.x, *weights.V)
    of_V = convolve_dweights(x, *dweights.V)
    terms = [a + b for a, b in zip(of_x, of_V, strict=True)]
    if dweights.maps is not None:
        terms = [add_bias(a, b) for a, b in zip(terms, dweights.maps, strict=True)]
    if ddrive.context is not None:
        terms = [a + b for a, b in zip(terms, ddrive.context, strict=True)]
    return rule.source(weights, k, seen, dweights, gru.Drive(*terms))


def propagate(
    rule: LinearRecurrence, weights: ConvWeights, k: Any, dseen: Array, dh: Array
) -> Float[Array, "*batch_space channels"]:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    return rule.propagate(weights, k[0], dseen, dh)
