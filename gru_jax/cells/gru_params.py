"""The parameters of a GRU: their shapes, their initial values, and their checks.

W_* is [joint, hidden]: its first rows act on x, its last `hidden` rows on the state.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.ops.checks import check_count, check_kind
from gru_jax.ops.initializers import draw
from gru_jax.types import Initializer, Input, Key, Params, Shape, exportable


@exportable
class GRUParams(NamedTuple):
    """Weights and biases of a GRU. `b_h` is None for reset="before"."""

    W_r: Float[Array, "joint hidden"]
    b_r: Float[Array, " hidden"]
    W_z: Float[Array, "joint hidden"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "joint hidden"]
    b_c: Float[Array, " hidden"]
    b_h: Float[Array, " hidden"] | None = None


class InitOptions(NamedTuple):
    """The options of `gru` that determine the initial parameters."""

    hidden_size: int
    reset: str
    dtype: jax.typing.DTypeLike
    kernel_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    update_bias_init: Initializer | None


def check_start(function: str, start: InitOptions) -> InitOptions:
    """Returns the options with a dtype for `dtype`; raises if one is out of range."""
    hidden_size, reset, dtype, *_ = start
    check_count(function, "hidden_size", hidden_size)
    if reset not in ("before", "after"):
        raise ValueError(f'{function}: reset must be "before" or "after", got {reset!r}.')
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{function}: dtype must be a floating type, got {jnp.dtype(dtype)}.")
    return start._replace(dtype=jnp.dtype(dtype))


def init_gru_params(function: str, start: InitOptions, key: Key, input_size: int) -> GRUParams:
    """Returns the initial parameters; an error names `function`."""
    check_count(function, "input_size", input_size)
    size, dtype, bias_init = start.hidden_size, start.dtype, start.bias_init

    def init_gate(key: Key, bias_init: Initializer = bias_init) -> tuple[Array, Array]:
        key_x, key_h, key_b = jax.random.split(key, 3)
        W_x = draw(start.kernel_init, key_x, (input_size, size), dtype)
        W_h = draw(start.recurrent_init, key_h, (size, size), dtype)
        return jnp.concatenate([W_x, W_h]), draw(bias_init, key_b, (size,), dtype)

    key_r, key_z, key_c, key_h = jax.random.split(key, 4)
    return GRUParams(
        *init_gate(key_r),
        *init_gate(key_z, start.update_bias_init or bias_init),
        *init_gate(key_c),
        draw(bias_init, key_h, (size,), dtype) if start.reset == "after" else None,
    )


def split_rows(
    W: Float[Array, "joint hidden"],
) -> tuple[Float[Array, "input hidden"], Float[Array, "hidden hidden"]]:
    """Returns the rows that act on x, and the rows that act on h."""
    return W[: -W.shape[1]], W[-W.shape[1] :]


def initial_state(params: Params, x_shape: Shape) -> Float[Array, "*batch hidden"]:
    """Returns zeros, the state before the first step."""
    return jnp.zeros((*x_shape[:-1], params.W_r.shape[1]), params.W_r.dtype)


def check_params(function: str, kind: type, hidden_size: int, reset: str, params: Params) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell."""
    check_kind(f"{function}: params must be {kind.__name__}", params, kind)
    W_r = params.W_r
    if W_r.shape[1:] != (hidden_size,):
        raise ValueError(
            f"{function}: params.W_r must be [joint, {hidden_size}] to match the cell, "
            f"got {W_r.shape}."
        )
    if (params.b_h is None) != (reset == "before"):
        needed, got = ("None", "an array") if reset == "before" else ("an array", "None")
        raise ValueError(
            f'{function}: params.b_h must be {needed} with reset="{reset}", got {got}.'
        )
    for name, leaf in params._asdict().items():
        needed = W_r.shape if name.startswith("W") else W_r.shape[1:]
        if leaf is not None and (leaf.shape != needed or leaf.dtype != W_r.dtype):
            raise ValueError(
                f"{function}: params.{name} must be {needed} {W_r.dtype} to match params.W_r "
                f"{W_r.shape}, got {leaf.shape} {leaf.dtype}."
            )
    return Input((W_r.shape[0] - hidden_size,))


def check_step(function: str, params: Params, x: Array, h: Array) -> None:
    """Raises unless x and h are one step's input and state for these parameters."""
    joint, hidden = params.W_r.shape
    for name, value, size in (("x", x, joint - hidden), ("h", h, hidden)):
        if value.shape[-1:] != (size,) or value.dtype != params.W_r.dtype:
            raise ValueError(
                f"{function}: {name} must be [*batch, {size}] {params.W_r.dtype} to match "
                f"params.W_r {params.W_r.shape}, got {value.shape} {value.dtype}."
            )
    if x.shape[:-1] != h.shape[:-1]:
        raise ValueError(f"{function}: h must have the batch axes of x {x.shape}, got {h.shape}.")


def check_same(function: str, h: Array, **values: Array) -> None:
    """Raises unless all values have the shape and dtype of h."""
    for name, value in values.items():
        if value.shape != h.shape or value.dtype != h.dtype:
            raise ValueError(
                f"{function}: {name} must be {h.shape} {h.dtype} to match h, "
                f"got {value.shape} {value.dtype}."
            )
