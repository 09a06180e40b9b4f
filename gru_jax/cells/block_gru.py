"""The block-diagonal GRU of DreamerV3, for wide states.

    u_t = silu(R(x_t W_x + b_x; g_x))                         map of the input
    v_t = silu(R(h_{t-1} W_h + b_h; g_h))                     map of the state
    a_t = silu(R(D(s_t, W) + b; g)),                          s_t^k = [u_t, v_t, h_{t-1}^k]
    r_t = sigmoid(D(a_t, W_r) + b_r)
    z_t = sigmoid(D(a_t, W_z) + b_z)
    c_t = tanh(r_t * (D(a_t, W_c) + b_c))
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

D(a, W) = [a^1 W^1, a^2 W^2, ...] is a block-diagonal product: each block of a has its matrix. R is
RMS normalisation over all blocks together (see `normalization`). The reset gate acts on the whole
pre-activation. Each further hidden layer is a_t <- silu(R(D(a_t, W) + b; g)).

DreamerV3's code differs in four points. Its x is two vectors, a sample and an action, and each has
a map. It divides each entry of the action by max(1, |entry|). Its rows of W act on h^k, v and u, in
this order. It subtracts 1 from z's pre-activation at each step; here b_z begins at -1.

References:
    Hafner et al. (2025), "Mastering diverse control tasks through world models", and its code,
    github.com/danijar/dreamerv3. Zhang and Sennrich (2019), "Root mean square layer
    normalization".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.block_gru_params import (
    BlockGRUParams,
    BlockLayer,
    Sizes,
    check_params,
    init_params,
    initial_state,
)
from gru_jax.cells.gru import GRUGates, mix
from gru_jax.cells.params import check_batch, check_features, check_options
from gru_jax.ops.checks import check_count, is_finite
from gru_jax.ops.initializers import init_lecun_normal
from gru_jax.ops.normalization import check_epsilon, normalize_rms
from gru_jax.ops.products import add_bias, affine, block_matmul, matmul, tall_matmul
from gru_jax.types import Cell, Fast, Initializer, Shape


class StateWeights(NamedTuple):
    """The parameters that act on v, on the state and on a."""

    U_h: Float[Array, "hidden units"]
    b_h: Float[Array, " units"]
    g_h: Float[Array, " units"]
    V: Float[Array, "units hidden"]
    U_a: Float[Array, "blocks block block"]
    g_a: Float[Array, " hidden"]
    layers: tuple[BlockLayer, ...]
    W_rzc: Float[Array, "blocks block three"]
    biases: tuple[Float[Array, " hidden"], ...]


@buildable
def block_gru(
    hidden_size: int,
    blocks: int = 8,
    *,
    units: int | None = None,
    hidden_layers: int = 1,
    update_bias: float = -1.0,
    epsilon: float = 1e-4,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    gain_init: Initializer = jax.nn.initializers.ones,
) -> Cell:
    """Builds the block-diagonal GRU of DreamerV3, with the defaults of DreamerV3's code.

    Args:
        hidden_size: features of the state.
        blocks: the number of blocks, a divisor of `hidden_size`.
        units: features of each map; None is hidden_size / blocks.
        hidden_layers: block-diagonal layers between the maps and the gates.
        update_bias: a number added to the initial b_z. Below 0, units begin by remembering.
        epsilon: a small number added to each mean square.
        dtype: the dtype of parameters, and so of inputs, states and results.
        kernel_init: initialises every W.
        bias_init: initialises every bias.
        gain_init: initialises every gain.

    Returns:
        The cell; its parameters are `BlockGRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Hafner et al. (2025), "Mastering diverse control tasks through world models", and its code.
    """
    dtype = check_options("block_gru", hidden_size, dtype)
    check_count("block_gru", "blocks", blocks)
    if hidden_size % blocks:
        raise ValueError(
            f"block_gru: hidden_size must be a multiple of blocks={blocks}, got {hidden_size}."
        )
    units = hidden_size // blocks if units is None else units
    check_count("block_gru", "units", units)
    check_count("block_gru", "hidden_layers", hidden_layers)
    epsilon = check_epsilon("block_gru", epsilon)
    if not is_finite(update_bias):
        raise ValueError(f"block_gru: update_bias must be a finite number, got {update_bias!r}.")
    sizes = Sizes(hidden_size, blocks, units, hidden_layers)
    initializers = kernel_init, bias_init, gain_init
    one_step = bind(step, epsilon=epsilon)
    return Cell(
        init=bind(init_params, sizes, dtype, float(update_bias), initializers),
        initial_state=initial_state,
        step=one_step,
        fast=Fast(
            one_step, bind(project, epsilon=epsilon), pack, bind(gates, epsilon=epsilon), mix
        ),
        input=bind(check_params, sizes),
    )


def step(
    params: BlockGRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    *,
    epsilon: float,
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}."""
    check_features("block_gru", "x", x, params.W_x.shape[0], "params.W_x", params.W_x)
    check_features("block_gru", "h", h, params.W_h.shape[0], "params.W_h", params.W_h)
    check_batch("block_gru", x, h=h)
    drive = project(params, x, epsilon=epsilon)
    return mix(gates(pack(params), drive, h, epsilon=epsilon), h)


def project(
    params: BlockGRUParams, xs: Float[Array, "*batch input"], *, epsilon: float
) -> Float[Array, "*batch hidden"]:
    """Returns the term that x adds to the first hidden layer, with the bias."""
    W, b, _ = params.layers[0]
    u = activate(add_bias(tall_matmul(xs, params.W_x), params.b_x), params.g_x, epsilon)
    return add_bias(tall_matmul(u, side_by_side(W[:, : u.shape[-1]])), b)


def pack(params: BlockGRUParams, _x_shape: Shape = ()) -> StateWeights:
    """Returns the parameters that act on v, on the state and on a."""
    (W, _, g), *more = params.layers
    units = params.W_h.shape[1]
    return StateWeights(
        *(params.W_h, params.b_h, params.g_h),
        *(side_by_side(W[:, units : 2 * units]), W[:, 2 * units :], g),
        tuple(more),
        jnp.concatenate([params.W_r, params.W_z, params.W_c], -1),
        (params.b_r, params.b_z, params.b_c),
    )


def gates(
    weights: StateWeights,
    drive: Float[Array, "*batch hidden"],
    h: Float[Array, "*batch hidden"],
    *,
    epsilon: float,
) -> GRUGates:
    """Returns the gates from the drive and the old state."""
    U_h, b_h, g_h, V, U_a, g_a, layers, W_rzc, biases = weights
    v = activate(affine(h, U_h, b_h), g_h, epsilon)
    a = drive + matmul(v, V) + block_matmul(h, U_a).reshape(h.shape)
    a = activate(a, g_a, epsilon)
    for W, b, g in layers:
        a = activate(add_bias(block_matmul(a, W).reshape(h.shape), b), g, epsilon)
    parts = jnp.split(block_matmul(a, W_rzc), 3, axis=-1)
    r, z, c = (add_bias(p.reshape(h.shape), b) for p, b in zip(parts, biases, strict=True))
    r = jax.nn.sigmoid(r)
    return GRUGates(r, jax.nn.sigmoid(z), jnp.tanh(r * c))


def activate(a: Array, gain: Array, epsilon: float) -> Array:
    """Returns silu(R(a; g))."""
    return jax.nn.silu(normalize_rms(a, gain, epsilon))


def side_by_side(W: Float[Array, "blocks rows block"]) -> Float[Array, "rows hidden"]:
    """Returns the weights of inputs that all blocks share, as one matrix."""
    return W.swapaxes(0, 1).reshape(W.shape[1], -1)
