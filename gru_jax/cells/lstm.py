"""The LSTM with a forget gate: three gates, and a memory c behind the output h.

    i_t = sigmoid([x_t, h_{t-1}] W_i + b_i)                   input gate
    f_t = sigmoid([x_t, h_{t-1}] W_f + b_f)                   forget gate
    g_t = tanh([x_t, h_{t-1}] W_g + b_g)                      candidate
    o_t = sigmoid([x_t, h_{t-1}] W_o + b_o)                   output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)

References:
    Hochreiter and Schmidhuber (1997), "Long short-term memory". Gers et al. (2000), "Learning to
    forget: continual prediction with LSTM", which adds the forget gate. Jozefowicz et al. (2015),
    "An empirical exploration of recurrent network architectures", for its initial bias of 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.params import (
    InitOptions,
    check_options,
    check_same,
    check_step,
    check_weights,
    init_gate,
    split_rows,
)
from gru_jax.cells.params import initial_state as zeros
from gru_jax.ops.checks import check_count, check_kind, is_finite
from gru_jax.ops.initializers import init_glorot_uniform, init_orthogonal
from gru_jax.ops.products import add_bias, matmul_each, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Key, Shape, exportable


@exportable
class LSTMParams(NamedTuple):
    """Weights and biases of the three gates and of the candidate."""

    W_i: Float[Array, "joint hidden"]
    b_i: Float[Array, " hidden"]
    W_f: Float[Array, "joint hidden"]
    b_f: Float[Array, " hidden"]
    W_g: Float[Array, "joint hidden"]
    b_g: Float[Array, " hidden"]
    W_o: Float[Array, "joint hidden"]
    b_o: Float[Array, " hidden"]


@exportable
class LSTMState(NamedTuple):
    """The output, and the memory behind it."""

    h: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class Drive(NamedTuple):
    """The terms that x adds to the pre-activations, without biases."""

    i: Float[Array, "*batch hidden"]
    f: Float[Array, "*batch hidden"]
    g: Float[Array, "*batch hidden"]
    o: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the weights that act on h, and the biases."""

    U_i: Float[Array, "hidden hidden"]
    U_f: Float[Array, "hidden hidden"]
    U_g: Float[Array, "hidden hidden"]
    U_o: Float[Array, "hidden hidden"]
    b_i: Float[Array, " hidden"]
    b_f: Float[Array, " hidden"]
    b_g: Float[Array, " hidden"]
    b_o: Float[Array, " hidden"]


@exportable
class LSTMGates(NamedTuple):
    """The values that one step computes from x and h."""

    i: Float[Array, "*batch hidden"]
    f: Float[Array, "*batch hidden"]
    g: Float[Array, "*batch hidden"]
    o: Float[Array, "*batch hidden"]


@buildable
def lstm(
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Builds the LSTM.

    Args:
        hidden_size: features of h, and of c.
        forget_bias: a number added to the initial b_f. Above 0, units begin by remembering. It is
            no part of a step, so the weights of other frameworks fit unchanged.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x, for each gate separately.
        recurrent_init: initialises the rows that act on h, for each gate separately.
        bias_init: initialises every bias.

    Returns:
        The cell. Its parameters are `LSTMParams`, its state is an `LSTMState`, and its output is h.

    Raises:
        ValueError: if an option is out of range.

    References:
        Hochreiter and Schmidhuber (1997), "Long short-term memory". Gers et al. (2000), "Learning
        to forget", for the forget gate. Jozefowicz et al. (2015), "An empirical exploration of
        recurrent network architectures", for its bias of 1.
    """
    dtype = check_options("lstm", hidden_size, dtype)
    if not is_finite(forget_bias):
        raise ValueError(f"lstm: forget_bias must be a finite number, got {forget_bias!r}.")
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    return Cell(
        init=bind(init_params, options, float(forget_bias)),
        initial_state=initial_state,
        step=step,
        output=output,
        fast=Fast(step, project, pack, gates, mix),
        input=bind(check_weights, "lstm", LSTMParams, hidden_size),
    )


def init_params(options: InitOptions, forget_bias: float, key: Key, input_size: int) -> LSTMParams:
    """Returns the initial parameters."""
    check_count("lstm", "input_size", input_size)
    i, f, g, o = (init_gate(options, key, input_size) for key in jax.random.split(key, 4))
    params = LSTMParams(*i, *f, *g, *o)
    return params._replace(b_f=params.b_f + forget_bias)


def initial_state(params: LSTMParams, x_shape: Shape) -> LSTMState:
    """Returns zeros, the state before the first step."""
    return LSTMState(zeros(params, x_shape), zeros(params, x_shape))


def output(state: LSTMState) -> Float[Array, "*batch hidden"]:
    """Returns h, which layers pass on."""
    return state.h


def step(params: LSTMParams, x: Float[Array, "*batch input"], state: LSTMState) -> LSTMState:
    """Returns h_t and c_t from x_t, h_{t-1} and c_{t-1}."""
    check_kind("lstm: state must be an LSTMState", state, LSTMState)
    check_step("lstm", params, x, state.h)
    check_same("lstm", state.h, c=state.c)
    return mix(gates(pack(params), project(params, x), state), state)


def project(params: LSTMParams, xs: Float[Array, "*batch input"]) -> Drive:
    """Returns the products of x with the weights of i, f, g and o."""
    weights = params.W_i, params.W_f, params.W_g, params.W_o
    return Drive(*(tall_matmul(xs, W_x) for W_x, _ in map(split_rows, weights)))


def pack(params: LSTMParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on h, and the biases."""
    weights = params.W_i, params.W_f, params.W_g, params.W_o
    (_, U_i), (_, U_f), (_, U_g), (_, U_o) = map(split_rows, weights)
    return StateWeights(U_i, U_f, U_g, U_o, params.b_i, params.b_f, params.b_g, params.b_o)


def gates(weights: StateWeights, drive: Drive, state: LSTMState) -> LSTMGates:
    """Returns the gates and the candidate from the drive and the old state."""
    U_i, U_f, U_g, U_o, b_i, b_f, b_g, b_o = weights
    h_i, h_f, h_g, h_o = matmul_each(state.h, U_i, U_f, U_g, U_o)
    return LSTMGates(
        jax.nn.sigmoid(add_bias(drive.i + h_i, b_i)),
        jax.nn.sigmoid(add_bias(drive.f + h_f, b_f)),
        jnp.tanh(add_bias(drive.g + h_g, b_g)),
        jax.nn.sigmoid(add_bias(drive.o + h_o, b_o)),
    )


def mix(gates: LSTMGates, state: LSTMState) -> LSTMState:
    """Returns h_t and c_t from the gates and c_{t-1}."""
    c = gates.f * state.c + gates.i * gates.g
    return LSTMState(gates.o * jnp.tanh(c), c)
