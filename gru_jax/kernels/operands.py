"""What the kernel takes and gives, in the order of the compiled code: arrays, shapes or None.

All batch axes are one, the rows: "steps" are [time, rows, ...] with time_axis=0 and
[rows, time, ...] with time_axis=1. An array that is absent has the shape [0].
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

STEPS = frozenset(("xs", "hs", "valid", "resets", "r", "z", "c", "q", "a_r", "a_z", "a_c", "dhs"))
"""Names of what has an entry for each step of each row."""
ROWS = frozenset(("h0", "h_reset"))
"""Names of what has an entry for each row; all else is weights and biases."""


class Inputs(NamedTuple):
    """What goes into the forward pass."""

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
    """What derivatives need of the forward pass; `q` is there with reset="after"."""

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
    """What the forward pass gives: the states carried on and, if they are kept, the gates."""

    hs: Any
    r: Any = None
    z: Any = None
    c: Any = None
    q: Any = None


class Tangents(NamedTuple):
    """The tangents of what goes in; an absent one is zero."""

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
    """What the backward pass gives; `a_*` and `q` are those of pre-activations and h U_c + b_h."""

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
"""Names of what goes into the backward pass."""

Operands = TypeVar("Operands", Inputs, Outputs, Saved, Tangents, Gradients)


def is_absent(a: Any) -> bool:
    """Returns whether an operand stands for none."""
    return a is None or a.shape == (0,)


def absent(dtype: jax.typing.DTypeLike) -> Array:
    """Returns what stands for an array that is not there."""
    return jnp.zeros((0,), dtype)


def time_major(operands: Operands, time_axis: int) -> Operands:
    """Returns operands with time in front, and None for those that are absent."""

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
    """Returns the axis of the rows; weights have none."""
    if name in STEPS:
        return 1 - time_axis
    return 0 if name in ROWS else None
