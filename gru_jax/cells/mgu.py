"""The minimal gated unit: a GRU with one gate, which both resets and updates.

    f_t = sigmoid([x_t, h_{t-1}] W_f + b_f)
    c_t = tanh([x_t, f_t * h_{t-1}] W_c + b_c)
    h_t = (1 - f_t) * h_{t-1} + f_t * c_t

Flax's `MGUCell` is another cell. Its gate acts after the product, and weighs the old state:

    c_t = tanh(in(x_t) + f_t * hn(h_{t-1}))
    h_t = (1 - f_t) * c_t + f_t * h_{t-1}

References:
    Zhou et al. (2016), "Minimal gated unit for recurrent neural networks".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru import hidden_state
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
from gru_jax.ops.initializers import init_glorot_uniform, init_orthogonal
from gru_jax.ops.products import add_bias, matmul, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class MGUParams(NamedTuple):
    """Weights and biases of the gate and of the candidate."""

    W_f: Float[Array, "joint hidden"]
    b_f: Float[Array, " hidden"]
    W_c: Float[Array, "joint hidden"]
    b_c: Float[Array, " hidden"]


class Drive(NamedTuple):
    """The terms that x adds to the pre-activations, without biases."""

    f: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the weights that act on the state, and the biases."""

    U_f: Float[Array, "hidden hidden"]
    U_c: Float[Array, "hidden hidden"]
    b_f: Float[Array, " hidden"]
    b_c: Float[Array, " hidden"]


@exportable
class MGUGates(NamedTuple):
    """The values that one step computes from the old state; f is both r and z of a GRU."""

    f: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]

    @property
    def r(self) -> Float[Array, "*batch hidden"]:
        """Returns f, how much of the old state the candidate sees."""
        return self.f

    @property
    def z(self) -> Float[Array, "*batch hidden"]:
        """Returns f, the weight of the candidate in h_t."""
        return self.f


@buildable
def mgu(
    hidden_size: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Builds the minimal gated unit; Flax's `MGUCell` is another cell.

    Args:
        hidden_size: features of the state.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x, for each gate separately.
        recurrent_init: initialises the rows that act on h, for each gate separately.
        bias_init: initialises both biases.

    Returns:
        The cell; its parameters are `MGUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Zhou et al. (2016), "Minimal gated unit for recurrent neural networks".
    """
    dtype = check_options("mgu", hidden_size, dtype)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    return Cell(
        init=bind(init_params, options),
        initial_state=initial_state,
        step=step,
        fast=Fast(step, project, pack, gates, mix),
        input=bind(check_weights, "mgu", MGUParams, hidden_size),
    )


def init_params(options: InitOptions, key: Key, input_size: int) -> MGUParams:
    """Returns the initial parameters."""
    check_count("mgu", "input_size", input_size)
    key_f, key_c = jax.random.split(key)
    return MGUParams(*init_gate(options, key_f, input_size), *init_gate(options, key_c, input_size))


def step(
    params: MGUParams, x: Float[Array, "*batch input"], h: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_step("mgu", params, x, h)
    return mix(gates(pack(params), project(params, x), h), h)


def project(params: MGUParams, xs: Float[Array, "*batch input"]) -> Drive:
    """Returns the products of x with the weights of f and c."""
    (W_f, _), (W_c, _) = map(split_rows, (params.W_f, params.W_c))
    return Drive(tall_matmul(xs, W_f), tall_matmul(xs, W_c))


def pack(params: MGUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on the state, and the biases."""
    (_, U_f), (_, U_c) = map(split_rows, (params.W_f, params.W_c))
    return StateWeights(U_f, U_c, params.b_f, params.b_c)


def gates(weights: StateWeights, drive: Drive, h: Float[Array, "*batch hidden"]) -> MGUGates:
    """Returns the gate and the candidate from the drive and the old state."""
    f = jax.nn.sigmoid(add_bias(drive.f + matmul(h, weights.U_f), weights.b_f))
    c = jnp.tanh(add_bias(drive.c + matmul(f * h, weights.U_c), weights.b_c))
    return MGUGates(f, c)


def mix(gates: MGUGates, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch hidden"]:
    """Returns h_t from the gates and h_{t-1}."""
    return hidden_state(h, gates.f, gates.c)
