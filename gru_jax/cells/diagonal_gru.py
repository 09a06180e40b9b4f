"""The diagonal GRU: vectors u act on the state, so that each unit sees its own state alone.

    r_t = sigmoid(x_t W_r + u_r * h_{t-1} + b_r)
    z_t = sigmoid(x_t W_z + u_z * h_{t-1} + b_z)
    c_t = tanh(x_t W_c + u_c * (r_t * h_{t-1}) + b_c)
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

It is a GRU with diagonal matrices on the state. Units meet in the next layer.

References:
    Li et al. (2018), "Independently recurrent neural network (IndRNN)", on such a state without
    gates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru import Drive, GRUGates, mix
from gru_jax.cells.params import (
    InitOptions,
    check_options,
    check_step,
    check_weights,
    initial_state,
)
from gru_jax.ops.checks import check_count
from gru_jax.ops.initializers import draw_each, init_glorot_uniform, init_unit_uniform
from gru_jax.ops.products import add_bias, scale, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class DiagonalGRUParams(NamedTuple):
    """Weights of x, weights of the state, and biases."""

    W_r: Float[Array, "input hidden"]
    u_r: Float[Array, " hidden"]
    b_r: Float[Array, " hidden"]
    W_z: Float[Array, "input hidden"]
    u_z: Float[Array, " hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "input hidden"]
    u_c: Float[Array, " hidden"]
    b_c: Float[Array, " hidden"]


class StateWeights(NamedTuple):
    """The weights that act on the state, and the biases."""

    u_r: Float[Array, " hidden"]
    u_z: Float[Array, " hidden"]
    u_c: Float[Array, " hidden"]
    b_r: Float[Array, " hidden"]
    b_z: Float[Array, " hidden"]
    b_c: Float[Array, " hidden"]


@buildable
def diagonal_gru(
    hidden_size: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_unit_uniform,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Builds the GRU with diagonal weights on the state; its loop multiplies no matrices.

    Args:
        hidden_size: features of the state.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises W_r, W_z and W_c, each separately.
        recurrent_init: initialises u_r, u_z and u_c, each separately: uniform in +-1 by default,
            where a unit alone does not amplify its state.
        bias_init: initialises every bias.

    Returns:
        The cell; its parameters are `DiagonalGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Li et al. (2018), "Independently recurrent neural network (IndRNN)".
    """
    dtype = check_options("diagonal_gru", hidden_size, dtype)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    return Cell(
        init=bind(init_params, options),
        initial_state=initial_state,
        step=step,
        fast=Fast(step, project, pack, gates, mix),
        input=bind(check_weights, "diagonal_gru", DiagonalGRUParams, hidden_size, rows="input"),
    )


def init_params(options: InitOptions, key: Key, input_size: int) -> DiagonalGRUParams:
    """Returns the initial parameters."""
    check_count("diagonal_gru", "input_size", input_size)
    size, dtype, kernel_init, recurrent_init, bias_init = options
    gate = (kernel_init, (input_size, size)), (recurrent_init, (size,)), (bias_init, (size,))
    return DiagonalGRUParams(*draw_each(key, dtype, *gate, *gate, *gate))


def step(
    params: DiagonalGRUParams, x: Float[Array, "*batch input"], h: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step("diagonal_gru", params, x, h, rows="input")
    return mix(gates(pack(params), project(params, x), h), h)


def project(params: DiagonalGRUParams, xs: Float[Array, "*batch input"]) -> Drive:
    """Returns the products of x with the weights of r, z and c."""
    return Drive(*(tall_matmul(xs, W) for W in (params.W_r, params.W_z, params.W_c)))


def pack(params: DiagonalGRUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on the state, and the biases."""
    _, u_r, b_r, _, u_z, b_z, _, u_c, b_c = params
    return StateWeights(u_r, u_z, u_c, b_r, b_z, b_c)


def gates(weights: StateWeights, drive: Drive, h: Float[Array, "*batch hidden"]) -> GRUGates:
    """Returns the gates from the drive and the old state."""
    u_r, u_z, u_c, b_r, b_z, b_c = weights
    r = jax.nn.sigmoid(add_bias(drive.r + scale(h, u_r), b_r))
    z = jax.nn.sigmoid(add_bias(drive.z + scale(h, u_z), b_z))
    return GRUGates(r, z, jnp.tanh(add_bias(drive.c + scale(r * h, u_c), b_c)))
