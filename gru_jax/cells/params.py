"""The parameters that all cells share: their initial values and their checks.

The first field of a cell's parameters is a gate's weights, W [rows, hidden]. Its rows are

    joint    the first `input` rows act on x, the last `hidden` rows on the state
    input    all rows act on x

The other fields W_* have the same shape, and all other fields are [hidden]. The weights of a
convolution have the axes of the kernel in front.
"""

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.ops.checks import check_count, check_dtype, check_kind
from gru_jax.ops.initializers import draw_each
from gru_jax.types import Initializer, Input, Key, Params, Shape

Rows: TypeAlias = Literal["joint", "input"]


class InitOptions(NamedTuple):
    """The options of a builder that determine the initial parameters."""

    hidden_size: int
    dtype: jax.typing.DTypeLike
    kernel_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer


def check_options(
    function: str, size: int, dtype: jax.typing.DTypeLike, name: str = "hidden_size"
) -> jnp.dtype:
    """Returns the dtype; raises if it or the size, which an error calls `name`, is out of range."""
    check_count(function, name, size)
    return check_dtype(function, dtype)


def init_gate(
    options: InitOptions,
    key: Key,
    input_size: int,
    bias_init: Initializer | None = None,
    kernel: Shape = (),
) -> tuple[Float[Array, "*kernel joint hidden"], Float[Array, " hidden"]]:
    """Returns the initial weights and bias of a gate; `bias_init` replaces the options' own."""
    size = options.hidden_size
    W_x, W_h, b = draw_each(
        key,
        options.dtype,
        (options.kernel_init, (*kernel, input_size, size)),
        (options.recurrent_init, (*kernel, size, size)),
        (bias_init or options.bias_init, (size,)),
    )
    return jnp.concatenate([W_x, W_h], axis=-2), b


def split_rows(
    W: Float[Array, "*kernel joint hidden"],
) -> tuple[Float[Array, "*kernel input hidden"], Float[Array, "*kernel hidden hidden"]]:
    """Returns the rows that act on x, and the rows that act on h."""
    size = W.shape[-1]
    return W[..., :-size, :], W[..., -size:, :]


def initial_state(params: Params, x_shape: Shape) -> Float[Array, "*batch hidden"]:
    """Returns zeros, the state before the first step."""
    return jnp.zeros((*x_shape[:-1], params[0].shape[1]), params[0].dtype)


def check_weights(
    function: str,
    kind: type,
    hidden_size: int,
    params: Params,
    *,
    rows: Rows = "joint",
    name: str = "params",
) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell.

    Args:
        function: the name that an error begins with.
        kind: the type of the parameters.
        hidden_size: features of the cell's state.
        params: the parameters; a field that is None is not checked.
        rows: what the rows of the weights act on.
        name: what an error calls the parameters.
    """
    check_kind(f"{function}: {name} must be {kind.__name__}", params, kind)
    first, W = f"{name}.{params._fields[0]}", params[0]
    for field, leaf in params._asdict().items():
        if leaf is None and field != "b_h":
            raise ValueError(f"{function}: {name}.{field} must be an array, got None.")
    if W.shape[1:] != (hidden_size,):
        raise ValueError(
            f"{function}: {first} must be [{rows}, {hidden_size}] to match the cell, got {W.shape}."
        )
    for field, leaf in params._asdict().items():
        needed = W.shape if field.startswith("W") else W.shape[1:]
        if leaf is not None:
            check_leaf(function, f"{name}.{field}", leaf, needed, first, W)
    return Input((_input_size(params, rows),))


def check_leaf(
    function: str, name: str, leaf: Array, shape: Shape, like_name: str, like: Array
) -> None:
    """Raises unless a parameter has this shape, and the dtype of the parameter `like`."""
    if leaf.shape != shape or leaf.dtype != like.dtype:
        raise ValueError(
            f"{function}: {name} must be {shape} {like.dtype} to match {like_name} {like.shape}, "
            f"got {leaf.shape} {leaf.dtype}."
        )


def check_step(function: str, params: Params, x: Array, h: Array, *, rows: Rows = "joint") -> None:
    """Raises unless x and h are one step's input and state for these parameters."""
    first, W = f"params.{params._fields[0]}", params[0]
    check_features(function, "x", x, _input_size(params, rows), first, W)
    check_features(function, "h", h, W.shape[1], first, W)
    check_batch(function, x, h=h)


def check_features(
    function: str,
    name: str,
    value: Array,
    size: int,
    like_name: str,
    like: Array,
    space: int = 0,
) -> None:
    """Raises unless a value of one step has `size` features and the dtype of a parameter.

    Before the features, it has `space` axes of any size.
    """
    fits = value.ndim > space and value.shape[-1] == size
    if not fits or value.dtype != like.dtype:
        raise ValueError(
            f"{function}: {name} must be [*batch, {'any, ' * space}{size}] {like.dtype} to match "
            f"{like_name} {like.shape}, got {value.shape} {value.dtype}."
        )


def check_batch(function: str, x: Array, **values: Array) -> None:
    """Raises unless all values have the batch axes of x."""
    for name, value in values.items():
        if x.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                f"{function}: {name} must have the batch axes of x {x.shape}, got {value.shape}."
            )


def check_same(function: str, h: Array, **values: Array) -> None:
    """Raises unless all values have the shape and dtype of h."""
    for name, value in values.items():
        if value.shape != h.shape or value.dtype != h.dtype:
            raise ValueError(
                f"{function}: {name} must be {h.shape} {h.dtype} to match h, "
                f"got {value.shape} {value.dtype}."
            )


def _input_size(params: Params, rows: Rows) -> int:
    count, hidden = params[0].shape
    return count - hidden if rows == "joint" else count
