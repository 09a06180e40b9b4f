"""The Gated Recurrent Unit, gate by gate.

    r_t = sigmoid([x_t, h_{t-1}] W_r + b_r)                   reset_gate
    z_t = sigmoid([x_t, h_{t-1}] W_z + b_z)                   update_gate
    c_t = tanh([x_t, r_t * h_{t-1}] W_c + b_c)                candidate       (reset="before")
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t                     hidden_state

With reset="after" the reset gate acts on the product instead, and there is one more bias, b_h:

    c_t = tanh(x_t W_cx + b_c + r_t * (h_{t-1} W_ch + b_h)),  W_c = [W_cx; W_ch]

References:
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder", eqs. 5-8, with
    z on the old state. Chung et al. (2014), "Empirical evaluation of gated recurrent neural
    networks on sequence modeling", eqs. 4-7, with z on the candidate, as here.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru_derivative import derivative
from gru_jax.cells.gru_params import GRUParams, check_params, check_reset, init_gru_params
from gru_jax.cells.params import (
    InitOptions,
    check_options,
    check_same,
    check_step,
    initial_state,
    split_rows,
)
from gru_jax.ops.activations import Activation, find_activation
from gru_jax.ops.checks import is_finite
from gru_jax.ops.initializers import init_glorot_uniform, init_orthogonal
from gru_jax.ops.products import add_bias, affine, matmul, matmul_each, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Shape, exportable


class Drive(NamedTuple):
    """The terms that x adds to each pre-activation, without biases, in three separate arrays.

    With slices of one array, XLA's loops on a CPU take two to four times as long. The loop adds the
    biases, where they cost nothing; before the loop they would cost another pass over memory.
    """

    r: Float[Array, "*batch hidden"]
    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the weights that act on the state, and the biases."""

    U_r: Float[Array, "hidden hidden"]
    U_z: Float[Array, "hidden hidden"]
    U_c: Float[Array, "hidden hidden"]
    b_r: Float[Array, " hidden"]
    b_z: Float[Array, " hidden"]
    b_c: Float[Array, " hidden"]
    b_h: Float[Array, " hidden"] | None


@exportable
class GRUGates(NamedTuple):
    """The values that one step computes from the old state; `q` = h U_c + b_h if reset="after"."""

    r: Float[Array, "*batch hidden"]
    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]
    q: Float[Array, "*batch hidden"] | None = None


def reset_gate(
    params: GRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    activation: Activation = "sigmoid",
) -> Float[Array, "*batch hidden"]:
    """Returns r_t, how much of the old state the candidate sees."""
    check_step("reset_gate", params, x, h)
    W_x, U = split_rows(params.W_r)
    return _activate("reset_gate", activation, matmul(x, W_x), matmul(h, U), params.b_r)


def update_gate(
    params: GRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    activation: Activation = "sigmoid",
) -> Float[Array, "*batch hidden"]:
    """Returns z_t, the weight of the candidate in h_t."""
    check_step("update_gate", params, x, h)
    W_x, U = split_rows(params.W_z)
    return _activate("update_gate", activation, matmul(x, W_x), matmul(h, U), params.b_z)


def candidate(
    params: GRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    r: Float[Array, "*batch hidden"],
    *,
    activation: Activation = "tanh",
) -> Float[Array, "*batch hidden"]:
    """Returns c_t, the new state proposed from x_t and from the old state that r_t lets through."""
    check_step("candidate", params, x, h)
    check_same("candidate", h, r=r)
    W_x, U = split_rows(params.W_c)
    h_c = matmul(r * h, U) if params.b_h is None else r * affine(h, U, params.b_h)
    return _activate("candidate", activation, matmul(x, W_x), h_c, params.b_c)


def hidden_state(
    h: Float[Array, "*batch hidden"],
    z: Float[Array, "*batch hidden"],
    c: Float[Array, "*batch hidden"],
    *,
    clip: float | None = None,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t: the old state and the candidate, mixed by z_t and clipped to +-clip."""
    check_same("hidden_state", h, z=z, c=c)
    h = (1 - z) * h + z * c
    return h if clip is None else jnp.clip(h, -clip, clip)


def _activate(function: str, activation: Activation, x: Array, h: Array, b: Array) -> Array:
    """Returns activation(x + h + b), the common form of r, z and c, from the terms of x and h."""
    return find_activation(function, "activation", activation)(add_bias(x + h, b))


@buildable
def gru(
    hidden_size: int,
    *,
    reset: Literal["before", "after"] = "before",
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
    clip: float | None = None,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    update_bias_init: Initializer | None = None,
) -> Cell:
    """Builds the GRU cell.

    Args:
        hidden_size: features of the state.
        reset: where the reset gate acts: on the state "before" its product with the weights, or on
            the product, "after" it (PyTorch, cuDNN, Keras' default, Flax, Equinox).
        activation: the activation of the candidate, a name in `activations.ACTIVATIONS` or a
            function. Activations other than the equations' own differentiate through the loop,
            which is slower.
        gate_activation: the activation of both gates, given in the same way.
        clip: clips each state to +-clip, as in LFADS; None does not clip.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x, for each gate separately.
        recurrent_init: initialises the rows that act on h, for each gate separately.
        bias_init: initialises every bias.
        update_bias_init: initialises b_z in place of `bias_init`; see `init_chrono` for long
            memory.

    Returns:
        The cell; its parameters are `GRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Cho et al. (2014), eqs. 5-8; Chung et al. (2014), eqs. 4-7.
    """
    dtype = check_options("gru", hidden_size, dtype)
    check_reset("gru", reset)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    if clip is not None and (not is_finite(clip) or clip <= 0):
        raise ValueError(f"gru: clip must be None or above 0 and finite, got {clip!r}.")
    clip = None if clip is None else float(clip)
    activate = find_activation("gru", "activation", activation)
    activate_gate = find_activation("gru", "gate_activation", gate_activation)
    has_rule = (activate, activate_gate) == (jnp.tanh, jax.nn.sigmoid)
    activations = {"activation": activation, "gate_activation": gate_activation}
    one_step = bind(step, **activations, clip=clip)
    return Cell(
        init=bind(init_gru_params, "gru", options, reset, update_bias_init),
        initial_state=initial_state,
        step=one_step,
        fast=Fast(
            step=one_step,
            project=project,
            pack=pack,
            gates=bind(gates, **activations),
            mix=bind(mix, clip=clip),
            derivative=derivative(reset, clip=clip) if has_rule else None,
            gru=as_they_are if has_rule else None,
            clip=clip,
        ),
        input=bind(check_params, "gru", GRUParams, hidden_size, reset),
    )


def step(
    params: GRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
    clip: float | None = None,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    r = reset_gate(params, x, h, activation=gate_activation)
    z = update_gate(params, x, h, activation=gate_activation)
    c = candidate(params, x, h, r, activation=activation)
    return hidden_state(h, z, c, clip=clip)


def project(params: GRUParams, xs: Float[Array, "*batch input"]) -> Drive:
    """Returns the products of x with the weights of r, z and c."""
    (W_r, _), (W_z, _), (W_c, _) = map(split_rows, (params.W_r, params.W_z, params.W_c))
    return Drive(tall_matmul(xs, W_r), tall_matmul(xs, W_z), tall_matmul(xs, W_c))


def pack(params: GRUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on the state, and the biases."""
    (_, U_r), (_, U_z), (_, U_c) = map(split_rows, (params.W_r, params.W_z, params.W_c))
    return StateWeights(U_r, U_z, U_c, params.b_r, params.b_z, params.b_c, params.b_h)


def gates(
    weights: StateWeights,
    drive: Drive,
    h: Float[Array, "*batch hidden"],
    *,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
) -> GRUGates:
    """Returns the gates from the drive and the old state."""
    U_r, U_z, U_c, b_r, b_z, b_c, b_h = weights
    after = b_h is not None
    h_r, h_z, *h_c = matmul_each(h, U_r, U_z, *((U_c,) if after else ()))
    r = _activate("gru", gate_activation, drive.r, h_r, b_r)
    z = _activate("gru", gate_activation, drive.z, h_z, b_z)
    q = add_bias(h_c[0], b_h) if after else None
    h_c = matmul(r * h, U_c) if q is None else r * q
    return GRUGates(r, z, _activate("gru", activation, drive.c, h_c, b_c), q)


def mix(
    gates: GRUGates, h: Float[Array, "*batch hidden"], *, clip: float | None = None
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from the gates and h_{t-1}."""
    return hidden_state(h, gates.z, gates.c, clip=clip)


def as_they_are(params: GRUParams) -> GRUParams:
    """Returns the parameters unchanged."""
    return params
