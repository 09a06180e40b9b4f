"""The GRU with layer normalisation.

N(a; g) has mean 0 and variance 1 over the features of the state, scaled by the gain g:

    N(a; g) = g * (a - mean(a)) / sqrt(var(a) + epsilon)

The products with x and with the state are normalised separately, for each gate:

    r_t = sigmoid(N(x_t W_rx; g_rx) + N(h_{t-1} W_rh; g_rh) + b_r),      W_r = [W_rx; W_rh]
    z_t = sigmoid(N(x_t W_zx; g_zx) + N(h_{t-1} W_zh; g_zh) + b_z)
    c_t = tanh(N(x_t W_cx; g_cx) + N((r_t * h_{t-1}) W_ch; g_ch) + b_c)          (reset="before")
    c_t = tanh(N(x_t W_cx; g_cx) + b_c + r_t * (N(h_{t-1} W_ch; g_ch) + b_h))    (reset="after")
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

The paper's GRU is reset="after". It gives each N a bias; biases that are only ever added together
are one bias here. It normalises r and z as one vector; here they are normalised separately.

References:
    Ba, Kiros and Hinton (2016), "Layer normalization", eq. 4 and the supplement's GRU.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru import Drive, GRUGates, mix
from gru_jax.cells.gru_params import check_params, check_reset, init_gru_params
from gru_jax.cells.params import (
    InitOptions,
    check_options,
    check_step,
    initial_state,
    split_rows,
)
from gru_jax.ops.initializers import draw, init_glorot_uniform, init_orthogonal
from gru_jax.ops.normalization import check_epsilon, normalize
from gru_jax.ops.products import add_bias, matmul, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class LayerNormGRUParams(NamedTuple):
    """The fields of `GRUParams`, and the gains of the products with x and with the state."""

    W_r: Float[Array, "joint hidden"]
    b_r: Float[Array, " hidden"]
    W_z: Float[Array, "joint hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "joint hidden"]
    b_c: Float[Array, " hidden"]
    b_h: Float[Array, " hidden"] | None
    g_rx: Float[Array, " hidden"]
    g_zx: Float[Array, " hidden"]
    g_cx: Float[Array, " hidden"]
    g_rh: Float[Array, " hidden"]
    g_zh: Float[Array, " hidden"]
    g_ch: Float[Array, " hidden"]


class StateWeights(NamedTuple):
    """The weights, gains and biases that act on the state."""

    U_r: Float[Array, "hidden hidden"]
    U_z: Float[Array, "hidden hidden"]
    U_c: Float[Array, "hidden hidden"]
    g_rh: Float[Array, " hidden"]
    g_zh: Float[Array, " hidden"]
    g_ch: Float[Array, " hidden"]
    b_h: Float[Array, " hidden"] | None


@buildable
def layer_norm_gru(
    hidden_size: int,
    *,
    reset: Literal["before", "after"] = "before",
    epsilon: float = 1e-6,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    update_bias_init: Initializer | None = None,
    gain_init: Initializer = jax.nn.initializers.ones,
) -> Cell:
    """Builds the GRU cell with layer normalisation; means and variances are taken in float32.

    Args:
        hidden_size: features of the state.
        reset: as in `gru`; "after" is the paper's form.
        epsilon: a small number added to each variance.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x, for each gate separately.
        recurrent_init: initialises the rows that act on h, for each gate separately.
        bias_init: initialises every bias.
        update_bias_init: initialises b_z in place of `bias_init`.
        gain_init: initialises every gain.

    Returns:
        The cell; its parameters are `LayerNormGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Ba, Kiros and Hinton (2016), eq. 4 and the supplement's GRU.
    """
    dtype = check_options("layer_norm_gru", hidden_size, dtype)
    check_reset("layer_norm_gru", reset)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    epsilon = check_epsilon("layer_norm_gru", epsilon)
    one_step = bind(step, epsilon=epsilon)
    return Cell(
        init=bind(init_params, options, reset, update_bias_init, gain_init),
        initial_state=initial_state,
        step=one_step,
        fast=Fast(
            step=one_step,
            project=bind(project, epsilon=epsilon),
            pack=pack,
            gates=bind(gates, epsilon=epsilon),
            mix=mix,
        ),
        input=bind(check_params, "layer_norm_gru", LayerNormGRUParams, hidden_size, reset),
    )


def init_params(
    options: InitOptions,
    reset: str,
    update_bias_init: Initializer | None,
    gain_init: Initializer,
    key: Key,
    input_size: int,
) -> LayerNormGRUParams:
    """Returns the initial parameters."""
    key, *keys = jax.random.split(key, 7)
    gains = [draw(gain_init, key, (options.hidden_size,), options.dtype) for key in keys]
    params = init_gru_params("layer_norm_gru", options, reset, update_bias_init, key, input_size)
    return LayerNormGRUParams(*params, *gains)


def step(
    params: LayerNormGRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    epsilon: float,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step("layer_norm_gru", params, x, h)
    drive = project(params, x, epsilon=epsilon)
    return mix(gates(pack(params), drive, h, epsilon=epsilon), h)


def project(
    params: LayerNormGRUParams, xs: Float[Array, "*batch input"], *, epsilon: float
) -> Drive:
    """Returns the terms that x adds to the pre-activations of r, z and c."""

    def drive(W: Array, gain: Array, bias: Array) -> Array:
        return add_bias(normalize(tall_matmul(xs, split_rows(W)[0]), gain, epsilon), bias)

    return Drive(
        drive(params.W_r, params.g_rx, params.b_r),
        drive(params.W_z, params.g_zx, params.b_z),
        drive(params.W_c, params.g_cx, params.b_c),
    )


def pack(params: LayerNormGRUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights, gains and biases that act on the state."""
    (_, U_r), (_, U_z), (_, U_c) = map(split_rows, (params.W_r, params.W_z, params.W_c))
    return StateWeights(U_r, U_z, U_c, params.g_rh, params.g_zh, params.g_ch, params.b_h)


def gates(
    weights: StateWeights, drive: Drive, h: Float[Array, "*batch hidden"], *, epsilon: float
) -> GRUGates:
    """Returns the gates from the drive and the old state."""

    def product(h: Array, U: Array, gain: Array) -> Array:
        return normalize(matmul(h, U), gain, epsilon)

    r = jax.nn.sigmoid(drive.r + product(h, weights.U_r, weights.g_rh))
    z = jax.nn.sigmoid(drive.z + product(h, weights.U_z, weights.g_zh))
    if weights.b_h is None:
        return GRUGates(r, z, jnp.tanh(drive.c + product(r * h, weights.U_c, weights.g_ch)))
    q = add_bias(product(h, weights.U_c, weights.g_ch), weights.b_h)
    return GRUGates(r, z, jnp.tanh(drive.c + r * q), q)
