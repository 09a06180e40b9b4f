"""The parameters of a GRU: their shapes, their initial values, and their checks.

W_* is [joint, hidden]: its first rows act on x, its last `hidden` rows on the state.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from gru_jax.cells.params import InitOptions, check_weights, init_gate
from gru_jax.ops.checks import check_count
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


def check_reset(function: str, reset: str) -> None:
    """Raises unless `reset` names a form of the GRU."""
    if reset not in ("before", "after"):
        raise ValueError(f'{function}: reset must be "before" or "after", got {reset!r}.')


def init_gru_params(
    function: str,
    options: InitOptions,
    reset: str,
    update_bias_init: Initializer | None,
    key: Key,
    input_size: int,
    kernel: Shape = (),
) -> GRUParams:
    """Returns the initial parameters; an error names `function`.

    `kernel` has the sizes of the weights' leading axes, for convolutions.
    """
    check_count(function, "input_size", input_size)
    key_r, key_z, key_c, key_h = jax.random.split(key, 4)
    size, dtype = options.hidden_size, options.dtype
    return GRUParams(
        *init_gate(options, key_r, input_size, kernel=kernel),
        *init_gate(options, key_z, input_size, update_bias_init, kernel),
        *init_gate(options, key_c, input_size, kernel=kernel),
        draw(options.bias_init, key_h, (size,), dtype) if reset == "after" else None,
    )


def check_params(
    function: str, kind: type, hidden_size: int, reset: str, params: Params, *, name: str = "params"
) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell."""
    one_step = check_weights(function, kind, hidden_size, params, name=name)
    if (params.b_h is None) != (reset == "before"):
        needed, got = ("None", "an array") if reset == "before" else ("an array", "None")
        raise ValueError(
            f'{function}: {name}.b_h must be {needed} with reset="{reset}", got {got}.'
        )
    return one_step
