"""The minGRU: its gate and its candidate depend on the input alone.

    z_t = sigmoid(x_t W_z + b_z)
    c_t = g(x_t W_c + b_c)
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

The activation g is the identity by default. The paper's form in log space has g(a) = a + 0.5 where
a >= 0, and sigmoid(a) elsewhere, which keeps the state positive.

References:
    Feng et al. (2024), "Were RNNs all we needed?".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru import hidden_state
from gru_jax.cells.params import check_options, check_step, check_weights, initial_state
from gru_jax.ops.activations import Activation, find_activation
from gru_jax.ops.checks import check_count
from gru_jax.ops.initializers import draw_each, init_glorot_uniform
from gru_jax.ops.products import add_bias, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class MinGRUParams(NamedTuple):
    """Weights and biases of the gate and of the candidate."""

    W_z: Float[Array, "input hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "input hidden"]
    b_c: Float[Array, " hidden"]


@exportable
class MinGRUGates(NamedTuple):
    """The values of a cell without a reset gate."""

    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


@buildable
def min_gru(
    hidden_size: int,
    *,
    activation: Activation = "linear",
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Builds the minGRU; no weights act on its state, so it has no DropConnect.

    Args:
        hidden_size: features of the state.
        activation: the activation of the candidate, a name in `activations.ACTIVATIONS` or a
            function.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises both weights.
        bias_init: initialises both biases.

    Returns:
        The cell; its parameters are `MinGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Feng et al. (2024), "Were RNNs all we needed?".
    """
    dtype = check_options("min_gru", hidden_size, dtype)
    find_activation("min_gru", "activation", activation)
    one_step = bind(step, activation=activation)
    return Cell(
        init=bind(init_params, hidden_size, dtype, kernel_init, bias_init),
        initial_state=initial_state,
        step=one_step,
        fast=Fast(one_step, bind(project, activation=activation), pack, gates, mix, affine=affine),
        input=bind(check_weights, "min_gru", MinGRUParams, hidden_size, rows="input"),
    )


def init_params(
    hidden_size: int,
    dtype: jax.typing.DTypeLike,
    kernel_init: Initializer,
    bias_init: Initializer,
    key: Key,
    input_size: int,
) -> MinGRUParams:
    """Returns the initial parameters."""
    check_count("min_gru", "input_size", input_size)
    gate = (kernel_init, (input_size, hidden_size)), (bias_init, (hidden_size,))
    return MinGRUParams(*draw_each(key, dtype, *gate, *gate))


def step(
    params: MinGRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    activation: Activation,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step("min_gru", params, x, h, rows="input")
    return mix(project(params, x, activation=activation), h)


def project(
    params: MinGRUParams, xs: Float[Array, "*batch input"], *, activation: Activation
) -> MinGRUGates:
    """Returns the gate and the candidate, which need no state."""
    z = jax.nn.sigmoid(add_bias(tall_matmul(xs, params.W_z), params.b_z))
    activate = find_activation("min_gru", "activation", activation)
    return MinGRUGates(z, activate(add_bias(tall_matmul(xs, params.W_c), params.b_c)))


def pack(_: MinGRUParams, _x_shape: Shape = ()) -> tuple[()]:
    """Returns no weights: none act on the state."""
    return ()


def gates(_: tuple[()], drive: MinGRUGates, __: Float[Array, "*batch hidden"]) -> MinGRUGates:
    """Returns the gate and the candidate as they are."""
    return drive


def affine(
    _: tuple[()], drive: MinGRUGates
) -> tuple[Float[Array, "*batch hidden"], Float[Array, "*batch hidden"]]:
    """Returns the factor of the old state and the new part, h_t = a h_{t-1} + b."""
    return 1 - drive.z, drive.z * drive.c


def mix(gates: MinGRUGates, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch hidden"]:
    """Returns h_t from the gates and h_{t-1}."""
    return hidden_state(h, gates.z, gates.c)
