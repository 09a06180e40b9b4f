"""GRU-D, for time series with missing values: a GRU between two decays.

One step's input has three parts: the values x, the mask m (1 observed, 0 missing), and the time d
since each feature was last observed. `gru_d_inputs` makes them. The state is h, and the last
observed values x', which begin as `mean`.

    gamma_x = exp(-max(0, w_x * d_t + b_x))                       decay of each feature
    gamma_h = exp(-max(0, d_t W_h + b_h))                         decay of the state
    x^ = m_t * x_t + (1 - m_t) * (gamma_x * x'_{t-1} + (1 - gamma_x) * mean)
    h^ = gamma_h * h_{t-1}
    h_t = gru([x^, m_t], h^)                                      reset="before"

Missing values are never read, and may be NaN.

References:
    Che et al. (2018), "Recurrent neural networks for multivariate time series with missing values".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells import gru
from gru_jax.cells.gru_params import GRUParams, check_params, init_gru_params
from gru_jax.cells.params import (
    InitOptions,
    check_batch,
    check_features,
    check_leaf,
    check_options,
)
from gru_jax.ops.checks import check_count, check_kind
from gru_jax.ops.initializers import draw_each, init_decay, init_glorot_uniform, init_orthogonal
from gru_jax.ops.products import add_bias, matmul_each, scale, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Input, Key, Shape, exportable


@exportable
class GRUDParams(NamedTuple):
    """The parameters of the GRU, of both decays, and the value that features decay to."""

    gru: GRUParams
    w_x: Float[Array, " features"]
    b_x: Float[Array, " features"]
    W_h: Float[Array, "features hidden"]
    b_h: Float[Array, " hidden"]
    mean: Float[Array, " features"]


@exportable
class GRUDState(NamedTuple):
    """The state of the GRU, and the last observed value of each feature."""

    h: Float[Array, "*batch hidden"]
    x_last: Float[Array, "*batch features"]


class Drive(NamedTuple):
    """The terms that need no state: x^ = known + keep * x', and h^ = decay * h."""

    gru: gru.Drive
    known: Float[Array, "*batch features"]
    keep: Float[Array, "*batch features"]
    observed: Bool[Array, "*batch features"]
    decay: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the GRU's weights that act on x^, and its weights of the state."""

    V_r: Float[Array, "features hidden"]
    V_z: Float[Array, "features hidden"]
    V_c: Float[Array, "features hidden"]
    gru: gru.StateWeights


@exportable
class GRUDGates(NamedTuple):
    """The gates of the GRU, and the terms of the drive that `mix` needs."""

    r: Float[Array, "*batch hidden"]
    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]
    decay: Float[Array, "*batch hidden"]
    known: Float[Array, "*batch features"]
    observed: Bool[Array, "*batch features"]


@buildable
def gru_d(
    hidden_size: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    recurrent_init: Initializer = init_orthogonal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    decay_init: Initializer = init_decay,
) -> Cell:
    """Builds GRU-D; `gru_d_inputs` makes its inputs.

    It takes no zoneout and no recurrent dropout, because a part of its state is data.

    Args:
        hidden_size: features of the state.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises the rows that act on x^ and m, for each gate separately.
        recurrent_init: initialises the rows that act on h^, for each gate separately.
        bias_init: initialises every bias.
        decay_init: initialises w_x and W_h. By default both decays begin slow.

    Returns:
        The cell. Its parameters are `GRUDParams`, where `mean` begins as 0. Its state is a
        `GRUDState`, and its output is h.

    Raises:
        ValueError: if an option is out of range; from `init`, if `input_size` is not 3 * features.

    References:
        Che et al. (2018), "Recurrent neural networks for multivariate time series with missing
        values".
    """
    dtype = check_options("gru_d", hidden_size, dtype)
    options = InitOptions(hidden_size, dtype, kernel_init, recurrent_init, bias_init)
    return Cell(
        init=bind(init_params, options, decay_init),
        initial_state=initial_state,
        step=step,
        output=output,
        fast=Fast(step, project, pack, gates, mix, noise=False),  # x_last is data
        input=bind(check_all, hidden_size),
    )


def init_params(
    options: InitOptions, decay_init: Initializer, key: Key, input_size: int
) -> GRUDParams:
    """Returns the initial parameters."""
    check_count("gru_d", "input_size", input_size)
    features, rest = divmod(input_size, 3)
    if rest:
        raise ValueError(f"gru_d: input_size must be 3 * features, got {input_size}.")
    size, dtype, _, _, bias_init = options
    key_gru, key_decay = jax.random.split(key)
    w_x, b_x, W_h, b_h = draw_each(
        key_decay,
        dtype,
        (decay_init, (features,)),
        (bias_init, (features,)),
        (decay_init, (features, size)),
        (bias_init, (size,)),
    )
    inner = init_gru_params("gru_d", options, "before", None, key_gru, 2 * features)
    return GRUDParams(inner, w_x, b_x, W_h, b_h, jnp.zeros(features, dtype))


def check_all(hidden_size: int, params: GRUDParams) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell."""
    check_kind("gru_d: params must be GRUDParams", params, GRUDParams)
    check_params("gru_d", GRUParams, hidden_size, "before", params.gru, name="params.gru")
    features = params.mean.size
    shapes = {
        "gru.W_r": (params.gru.W_r, (2 * features + hidden_size, hidden_size)),
        "w_x": (params.w_x, (features,)),
        "b_x": (params.b_x, (features,)),
        "W_h": (params.W_h, (features, hidden_size)),
        "b_h": (params.b_h, (hidden_size,)),
    }
    for name, (leaf, shape) in shapes.items():
        check_leaf("gru_d", f"params.{name}", leaf, shape, "params.mean", params.mean)
    return Input((3 * features,))


def initial_state(params: GRUDParams, x_shape: Shape) -> GRUDState:
    """Returns the state before the first step: h is zero, and every feature was last its mean."""
    h = jnp.zeros((*x_shape[:-1], params.b_h.size), params.b_h.dtype)
    # A copy even without batch axes: callers may donate the state, but not the parameters.
    return GRUDState(h, jnp.array(jnp.broadcast_to(params.mean, (*x_shape[:-1], params.mean.size))))


def output(state: GRUDState) -> Float[Array, "*batch hidden"]:
    """Returns h, which layers pass on."""
    return state.h


def step(params: GRUDParams, x: Float[Array, "*batch parts"], state: GRUDState) -> GRUDState:
    """Returns h_t and x'_t from x_t, h_{t-1} and x'_{t-1}."""
    check_kind("gru_d: state must be a GRUDState", state, GRUDState)
    (h, x_last), mean = state, params.mean
    check_features("gru_d", "x", x, 3 * mean.size, "params.mean", mean)
    check_features("gru_d", "state.h", h, params.b_h.size, "params.b_h", params.b_h)
    check_features("gru_d", "state.x_last", x_last, mean.size, "params.mean", mean)
    check_batch("gru_d", x, **{"state.h": h, "state.x_last": x_last})
    return mix(gates(pack(params), project(params, x), state), state)


def project(params: GRUDParams, xs: Float[Array, "*batch parts"]) -> Drive:
    """Returns the decays, and the products of m and of the known part of x^."""
    values, mask, times = jnp.split(xs, 3, axis=-1)
    observed = mask > 0
    gamma_x = _decay(add_bias(scale(times, params.w_x), params.b_x))
    # Nothing else reads the values, so that NaN for a missing one reaches no result or gradient.
    known = jnp.where(observed, values, scale(1 - gamma_x, params.mean))
    return Drive(
        gru.project(params.gru, jnp.concatenate([known, mask], -1)),
        known,
        jnp.where(observed, 0, gamma_x),
        observed,
        _decay(add_bias(tall_matmul(times, params.W_h), params.b_h)),
    )


def _decay(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.exp(-jnp.maximum(a, 0))


def pack(params: GRUDParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the weights that act on x' and on the state, and the biases."""
    size, (W_r, _, W_z, _, W_c, *_) = params.mean.size, params.gru
    return StateWeights(W_r[:size], W_z[:size], W_c[:size], gru.pack(params.gru))


def gates(weights: StateWeights, drive: Drive, state: GRUDState) -> GRUDGates:
    """Returns the gates from the drive and the old state."""
    *V, inner = weights
    more = matmul_each(drive.keep * state.x_last, *V)
    x = gru.Drive(*(of_known + of_last for of_known, of_last in zip(drive.gru, more, strict=True)))
    r, z, c, _ = gru.gates(inner, x, drive.decay * state.h)
    return GRUDGates(r, z, c, drive.decay, drive.known, drive.observed)


def mix(gates: GRUDGates, state: GRUDState) -> GRUDState:
    """Returns h_t and x'_t from the gates and the old state."""
    h = gru.hidden_state(gates.decay * state.h, gates.z, gates.c)
    return GRUDState(h, jnp.where(gates.observed, gates.known, state.x_last))
