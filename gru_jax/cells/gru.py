"""The Gated Recurrent Unit, gate by gate.

    r_t = sigmoid([x_t, h_{t-1}] W_r + b_r)                   reset_gate
    z_t = sigmoid([x_t, h_{t-1}] W_z + b_z)                   update_gate
    c_t = tanh([x_t, r_t * h_{t-1}] W_c + b_c)                candidate       (reset="before")
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t                     hidden_state

With reset="after" the reset gate acts on the product instead, and one more bias b_h comes along:

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

from gru_jax.cells.gru_derivative import RULE_AFTER, RULE_BEFORE
from gru_jax.initializers import draw
from gru_jax.linear import add_bias, affine, matmul, matmul_each, tall_matmul
from gru_jax.types import Cell, Initializer, Key, Shape


class GRUParams(NamedTuple):
    """Weights and biases of a GRU. `b_h` is None exactly in the reset="before" form."""

    W_r: Float[Array, "joint hidden"]
    b_r: Float[Array, " hidden"]
    W_z: Float[Array, "joint hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "joint hidden"]
    b_c: Float[Array, " hidden"]
    b_h: Float[Array, " hidden"] | None = None


class Drive(NamedTuple):
    """What x adds to each pre-activation, in arrays of their own.

    Side by side in one array they would be faster to compute, but XLA's loops on a CPU take two to
    four times as long over the slices.
    """

    r: Float[Array, "*batch hidden"]
    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class StateWeights(NamedTuple):
    """The rows of the weights that act on the state, and the bias that comes with them."""

    U_r: Float[Array, "hidden hidden"]
    U_z: Float[Array, "hidden hidden"]
    U_c: Float[Array, "hidden hidden"]
    b_h: Float[Array, " hidden"] | None


class Gates(NamedTuple):
    """What one step computes from the old state; `q` = h U_c + b_h exists with reset="after"."""

    r: Float[Array, "*batch hidden"]
    z: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]
    q: Float[Array, "*batch hidden"] | None = None


def reset_gate(
    params: GRUParams, x: Float[Array, "*batch input"], h: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch hidden"]:
    """Returns r_t, how much of the old state the candidate sees."""
    _check_step("reset_gate", params, x, h)
    return jax.nn.sigmoid(affine(jnp.concatenate([x, h], -1), params.W_r, params.b_r))


def update_gate(
    params: GRUParams, x: Float[Array, "*batch input"], h: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch hidden"]:
    """Returns z_t, the weight of the candidate in h_t."""
    _check_step("update_gate", params, x, h)
    return jax.nn.sigmoid(affine(jnp.concatenate([x, h], -1), params.W_z, params.b_z))


def candidate(
    params: GRUParams,
    x: Float[Array, "*batch input"],
    h: Float[Array, "*batch hidden"],
    r: Float[Array, "*batch hidden"],
) -> Float[Array, "*batch hidden"]:
    """Returns c_t, the new state proposed from x_t and what r_t lets through of the old one."""
    _check_step("candidate", params, x, h)
    _check_same("candidate", h, r=r)
    if params.b_h is None:
        return jnp.tanh(affine(jnp.concatenate([x, r * h], -1), params.W_c, params.b_c))
    W_cx, W_ch = _split_rows(params.W_c)
    return jnp.tanh(affine(x, W_cx, params.b_c) + r * affine(h, W_ch, params.b_h))


def hidden_state(
    h: Float[Array, "*batch hidden"],
    z: Float[Array, "*batch hidden"],
    c: Float[Array, "*batch hidden"],
) -> Float[Array, "*batch hidden"]:
    """Returns h_t, the old state and the candidate mixed by z_t."""
    _check_same("hidden_state", h, z=z, c=c)
    return (1 - z) * h + z * c


def gru(
    hidden_size: int,
    *,
    reset: Literal["before", "after"] = "before",
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    recurrent_init: Initializer = jax.nn.initializers.orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
    update_bias_init: Initializer | None = None,
) -> Cell:
    """Builds the GRU cell.

    Args:
        hidden_size: features of the state.
        reset: where the reset gate acts: on the state "before" its product with the weights, or on
            the product, "after" it (PyTorch, cuDNN, Keras' default, Flax, Equinox).
        dtype: of the parameters, and so of inputs, states and results.
        kernel_init: of the rows that act on x, each gate by itself.
        recurrent_init: of the rows that act on h, each gate by itself.
        bias_init: of every bias.
        update_bias_init: of b_z, if not `bias_init`; see `init_chrono` for long memory.

    Returns:
        The cell; its parameters are `GRUParams`.

    Raises:
        ValueError: if an option is out of range.

    References:
        Cho et al. (2014), eqs. 5-8; Chung et al. (2014), eqs. 4-7.
    """
    if not isinstance(hidden_size, int) or hidden_size < 1:
        raise ValueError(f"gru: hidden_size must be a whole number from 1, got {hidden_size}.")
    if reset not in ("before", "after"):
        raise ValueError(f'gru: reset must be "before" or "after", got {reset!r}.')
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"gru: dtype must be a floating type, got {jnp.dtype(dtype)}.")

    def init(key: Key, input_size: int) -> GRUParams:
        if input_size < 1:
            raise ValueError(f"gru: input_size must be 1 or more, got {input_size}.")

        def init_gate(key: Key, bias_init: Initializer = bias_init) -> tuple[Array, Array]:
            key_x, key_h, key_b = jax.random.split(key, 3)
            W_x = draw(kernel_init, key_x, (input_size, hidden_size), dtype)
            W_h = draw(recurrent_init, key_h, (hidden_size, hidden_size), dtype)
            return jnp.concatenate([W_x, W_h]), draw(bias_init, key_b, (hidden_size,), dtype)

        key_r, key_z, key_c, key_h = jax.random.split(key, 4)
        b_h = draw(bias_init, key_h, (hidden_size,), dtype) if reset == "after" else None
        return GRUParams(
            *init_gate(key_r),
            *init_gate(key_z, update_bias_init or bias_init),
            *init_gate(key_c),
            b_h,
        )

    def input_shape(params: GRUParams) -> Shape:
        _check_params(params, hidden_size, reset)
        return (params.W_r.shape[0] - hidden_size,)

    rule = RULE_BEFORE if reset == "before" else RULE_AFTER
    return Cell(init, input_shape, _initial_state, step, project, pack, gates, mix, rule)


def step(
    params: GRUParams, x: Float[Array, "*batch input"], h: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch hidden"]:
    """Returns h_t from x_t and h_{t-1}, in the textbook form."""
    r = reset_gate(params, x, h)
    z = update_gate(params, x, h)
    c = candidate(params, x, h, r)
    return hidden_state(h, z, c)


def project(params: GRUParams, xs: Float[Array, "*batch input"]) -> Drive:
    """Returns what x adds to the pre-activations of r, z and c."""

    def drive(W: Array, b: Array) -> Array:
        return add_bias(tall_matmul(xs, _split_rows(W)[0]), b)

    return Drive(
        drive(params.W_r, params.b_r), drive(params.W_z, params.b_z), drive(params.W_c, params.b_c)
    )


def pack(params: GRUParams) -> StateWeights:
    """Returns what acts on the state."""
    (_, U_r), (_, U_z), (_, U_c) = map(_split_rows, (params.W_r, params.W_z, params.W_c))
    return StateWeights(U_r, U_z, U_c, params.b_h)


def gates(weights: StateWeights, drive: Drive, h: Float[Array, "*batch hidden"]) -> Gates:
    """Returns the gates from the drive and the old state."""
    U_r, U_z, U_c, b_h = weights
    if b_h is None:
        h_r, h_z = matmul_each(h, U_r, U_z)
        r = jax.nn.sigmoid(drive.r + h_r)
        return Gates(r, jax.nn.sigmoid(drive.z + h_z), jnp.tanh(drive.c + matmul(r * h, U_c)))
    h_r, h_z, h_c = matmul_each(h, U_r, U_z, U_c)
    r, q = jax.nn.sigmoid(drive.r + h_r), add_bias(h_c, b_h)
    return Gates(r, jax.nn.sigmoid(drive.z + h_z), jnp.tanh(drive.c + r * q), q)


def mix(gates: Gates, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch hidden"]:
    """Returns h_t from the gates and h_{t-1}."""
    return hidden_state(h, gates.z, gates.c)


def _split_rows(
    W: Float[Array, "joint hidden"],
) -> tuple[Float[Array, "input hidden"], Float[Array, "hidden hidden"]]:
    """Returns the rows that act on x and those that act on h."""
    return W[: -W.shape[1]], W[-W.shape[1] :]


def _check_params(params: GRUParams, hidden_size: int, reset: str) -> None:
    W_r = params.W_r
    if W_r.shape[1:] != (hidden_size,):
        raise ValueError(
            f"gru: params.W_r must be [joint, {hidden_size}] to match the cell, got {W_r.shape}."
        )
    if (params.b_h is None) != (reset == "before"):
        needed, got = ("None", "an array") if reset == "before" else ("an array", "None")
        raise ValueError(f'gru: params.b_h must be {needed} with reset="{reset}", got {got}.')
    for name, leaf in params._asdict().items():
        needed = W_r.shape[1:] if name.startswith("b") else W_r.shape
        if leaf is not None and (leaf.shape != needed or leaf.dtype != W_r.dtype):
            raise ValueError(
                f"gru: params.{name} must be {needed} {W_r.dtype} to match params.W_r "
                f"{W_r.shape}, got {leaf.shape} {leaf.dtype}."
            )


def _initial_state(params: GRUParams, x_shape: Shape) -> Float[Array, "*batch hidden"]:
    return jnp.zeros((*x_shape[:-1], params.W_r.shape[1]), params.W_r.dtype)


def _check_step(function: str, params: GRUParams, x: Array, h: Array) -> None:
    joint, hidden = params.W_r.shape
    for name, value, size in (("x", x, joint - hidden), ("h", h, hidden)):
        if value.shape[-1:] != (size,) or value.dtype != params.W_r.dtype:
            raise ValueError(
                f"{function}: {name} must be [*batch, {size}] {params.W_r.dtype} to match "
                f"params.W_r {params.W_r.shape}, got {value.shape} {value.dtype}."
            )
    if x.shape[:-1] != h.shape[:-1]:
        raise ValueError(f"{function}: h must have the batch axes of x {x.shape}, got {h.shape}.")


def _check_same(function: str, h: Array, **values: Array) -> None:
    for name, value in values.items():
        if value.shape != h.shape or value.dtype != h.dtype:
            raise ValueError(
                f"{function}: {name} must be {h.shape} {h.dtype} to match h, "
                f"got {value.shape} {value.dtype}."
            )
