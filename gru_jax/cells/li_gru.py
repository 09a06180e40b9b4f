"""The light GRU: no reset gate, a rectified candidate, and normalised products with x.

    z_t = sigmoid(N(x_t W_zx; g_z) + h_{t-1} W_zh + b_z),      W_z = [W_zx; W_zh]
    c_t = relu(N(x_t W_cx; g_c) + h_{t-1} W_ch + b_c)
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

The paper takes N over the batch. Here N is layer normalisation, over the features of each step (see
`normalization`), so that a step depends on its own input alone. The paper's z weighs the old state;
here z weighs the candidate.

References:
    Ravanelli et al. (2018), "Light gated recurrent units for speech recognition".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.min_gru import MinGRUGates, mix
from gru_jax.cells.params import (
    InitOptions,
    check_options,
    check_step,
    check_weights,
    init_gate,
    initial_state,
    split_rows,
)
from gru_jax.ops.checks import check_count
from gru_jax.ops.initializers import draw_each, init_glorot_uniform, init_orthogonal
from gru_jax.ops.normalization import check_epsilon, normalize
from gru_jax.ops.products import add_bias, matmul_each, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class LiGRUParams(NamedTuple):
    """Weights, biases, and the gains of the products with x."""

    W_z: Float[Array, "joint hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "joint hidden"]
    b_c: Float[Array, " hidden"]
    g_z: Float[Array, " hidden"]
    g_c: Float[Array, " hidden"]


class Drive(NamedTuple):
    """The terms that x adds to the pre-activations, with biases."""

    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the weights that act on the state."""

    U_z: Float[Array, "hidden hidden"]
    U_c: Float[Array, "hidden hidden"]


@buildable
def li_gru(
    hidden_size: int,
    *,
    epsilon: float = 1e-6,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    gain_init: Initializer = jax.nn.initializers.ones,
) -> Cell:
    """Builds the light GRU, with layer normalisation in the place of batch normalisation.

    Args:
        hidden_size: features of the state.
        epsilon: a small number added to each variance.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x, for each gate separately.
        recurrent_init: initialises the rows that act on h, for each gate separately.
        bias_init: initialises both biases.
        gain_init: initialises both gains.

    Returns:
        The cell; its parameters are `LiGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Ravanelli et al. (2018), "Light gated recurrent units for speech recognition".
    """
    dtype = check_options("li_gru", hidden_size, dtype)
    epsilon = check_epsilon("li_gru", epsilon)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    one_step = bind(step, epsilon=epsilon)
    return Cell(
        init=bind(init_params, options, gain_init),
        initial_state=initial_state,
        step=one_step,
        fast=Fast(one_step, bind(project, epsilon=epsilon), pack, gates, mix),
        input=bind(check_weights, "li_gru", LiGRUParams, hidden_size),
    )


def init_params(
    options: InitOptions, gain_init: Initializer, key: Key, input_size: int
) -> LiGRUParams:
    """Returns the initial parameters."""
    check_count("li_gru", "input_size", input_size)
    key_z, key_c, key_g = jax.random.split(key, 3)
    gain = gain_init, (options.hidden_size,)
    return LiGRUParams(
        *init_gate(options, key_z, input_size),
        *init_gate(options, key_c, input_size),
        *draw_each(key_g, options.dtype, gain, gain),
    )


def step(
    params: LiGRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    epsilon: float,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step("li_gru", params, x, h)
    return mix(gates(pack(params), project(params, x, epsilon=epsilon), h), h)


def project(params: LiGRUParams, xs: Float[Array, "*batch input"], *, epsilon: float) -> Drive:
    """Returns the terms that x adds to the pre-activations of z and c."""
    W_z, b_z, W_c, b_c, g_z, g_c = params

    def drive(W: Array, gain: Array, bias: Array) -> Array:
        return add_bias(normalize(tall_matmul(xs, split_rows(W)[0]), gain, epsilon), bias)

    return Drive(drive(W_z, g_z, b_z), drive(W_c, g_c, b_c))


def pack(params: LiGRUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on the state."""
    return StateWeights(split_rows(params.W_z)[1], split_rows(params.W_c)[1])


def gates(weights: StateWeights, drive: Drive, h: Float[Array, "*batch hidden"]) -> MinGRUGates:
    """Returns the gate and the candidate from the drive and the old state."""
    h_z, h_c = matmul_each(h, *weights)
    return MinGRUGates(jax.nn.sigmoid(drive.z + h_z), jax.nn.relu(drive.c + h_c))
