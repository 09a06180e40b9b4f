"""The kernel's operands and results, in the order of the compiled code: arrays, shapes or None.

All batch axes are folded into one, the rows. "Steps" are [time, rows, ...] with time_axis=0 and
[rows, time, ...] with time_axis=1. A missing array has the shape [0]. An ensemble has one more axis
in front of every array, also of the weights: the members.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

STEPS = frozenset(("xs", "hs", "valid", "resets", "r", "z", "c", "q", "a_r", "a_z", "a_c", "dhs"))
"""Names of the arrays with an entry for each step of each row."""
ROWS = frozenset(("h0", "h_reset"))
"""Names of the arrays with an entry for each row; all others are weights and biases."""


class Inputs(NamedTuple):
    """The operands of the forward pass."""

    xs: Any
    W_r: Any
    W_z: Any
    W_c: Any
    b_r: Any
    b_z: Any
    b_c: Any
    b_h: Any
    h0: Any
    valid: Any
    resets: Any
    h_reset: Any


class Saved(NamedTuple):
    """The residuals of the forward pass, for derivatives; `q` exists with reset="after"."""

    xs: Any
    W_r: Any
    W_z: Any
    W_c: Any
    hs: Any
    h0: Any
    valid: Any
    resets: Any
    h_reset: Any
    r: Any
    z: Any
    c: Any
    q: Any


class Outputs(NamedTuple):
    """The results of the forward pass: the states carried on and, if they are kept, the gates."""

    hs: Any
    r: Any = None
    z: Any = None
    c: Any = None
    q: Any = None


class Tangents(NamedTuple):
    """The tangents of the operands; a missing tangent is zero."""

    xs: Any
    W_r: Any
    W_z: Any
    W_c: Any
    b_r: Any
    b_z: Any
    b_c: Any
    b_h: Any
    h0: Any
    h_reset: Any


class Gradients(NamedTuple):
    """The results of the backward pass; `a_*` belong to pre-activations, `q` to h U_c + b_h."""

    a_r: Any
    a_z: Any
    a_c: Any
    q: Any
    h0: Any = None
    h_reset: Any = None
    xs: Any = None
    W_r: Any = None
    W_z: Any = None
    W_c: Any = None
    b_r: Any = None
    b_z: Any = None
    b_c: Any = None
    b_h: Any = None


DERIVED = (*Saved._fields, "dhs")
"""Names of the operands of the backward pass."""

Operands = TypeVar("Operands", Inputs, Outputs, Saved, Tangents, Gradients)
Results = TypeVar("Results")


def is_absent(a: Any) -> bool:
    """Returns whether an operand is missing."""
    return a is None or a.shape == (0,)


def absent(dtype: jax.typing.DTypeLike) -> Array:
    """Returns the placeholder (shape `[0]`) for a missing array."""
    return jnp.zeros((0,), dtype)


def has_members(operands: Sequence[Any]) -> bool:
    """Returns whether the operands of a primitive have an axis of members."""
    return operands[Inputs._fields.index("W_r")].ndim == 3


def over_members(function: Callable[..., Results], *, at_once: bool) -> Callable[..., Results]:
    """Maps a function of one member's operands over the members, if there are any.

    Args:
        function: `(*operands, **static) -> results`.
        at_once: `vmap` runs all members at once; False runs one after the other.
    """

    @wraps(function)
    def run(*operands: Array, **static: Any) -> Results:
        if not has_members(operands):
            return function(*operands, **static)

        def one(present: list[Array]) -> Results:
            rest = iter(present)
            return function(*(a if is_absent(a) else next(rest) for a in operands), **static)

        present = [a for a in operands if not is_absent(a)]
        results = jax.vmap(one)(present) if at_once else jax.lax.map(one, present)
        return jax.tree.map(lambda a: absent(a.dtype) if a.shape[1:] == (0,) else a, results)

    return run


def time_major(operands: Operands, time_axis: int) -> Operands:
    """Returns operands with time in front, and None for missing ones."""

    def one(name: str, a: Any) -> Any:
        if is_absent(a):
            return None
        return jnp.moveaxis(a, time_axis, 0) if name in STEPS else a

    return operands._replace(**{name: one(name, a) for name, a in operands._asdict().items()})


def as_given(operands: Operands, time_axis: int, dtype: jax.typing.DTypeLike) -> Operands:
    """Undoes `time_major`."""

    def one(name: str, a: Any) -> Any:
        if a is None:
            return absent(dtype)
        return jnp.moveaxis(a, 0, time_axis) if name in STEPS else a

    return operands._replace(**{name: one(name, a) for name, a in operands._asdict().items()})


def row_axis(name: str, time_axis: int) -> int | None:
    """Returns the axis of a member's rows; weights have none."""
    if name in STEPS:
        return 1 - time_axis
    return 0 if name in ROWS else None
