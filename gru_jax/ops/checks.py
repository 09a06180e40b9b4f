"""Checks that arguments everywhere need; each raises one clear ValueError."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_count(function: str, name: str, count: object) -> None:
    """Raises unless a size or a number of layers is a whole number from 1."""
    if not is_count(count):
        raise ValueError(f"{function}: {name} must be a whole number from 1, got {count!r}.")


def is_count(value: object) -> bool:
    """Returns whether a value is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(value >= 1)


def is_finite(value: Any) -> bool:
    """Returns whether a value is a finite number."""
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except TypeError:
        return False


def check_dtype(function: str, dtype: jax.typing.DTypeLike) -> jnp.dtype:
    """Returns the dtype; raises unless it is a floating type."""
    try:
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.dtype(dtype)
        dtype = jnp.dtype(dtype).name
    except TypeError:
        dtype = repr(dtype)
    raise ValueError(f"{function}: dtype must be a floating type, got {dtype}.")


def check_flag(function: str, name: str, value: object) -> None:
    """Raises unless a value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{function}: {name} must be True or False, got {value!r}.")


def check_space(function: str, space: tuple[int, ...]) -> None:
    """Raises if an image has no pixels."""
    if 0 in space:
        raise ValueError(f"{function}: xs must have space axes of 1 or more, got {space}.")


def check_kernel(function: str, kernel_size: object) -> tuple[int, ...]:
    """Returns the sizes of a kernel; raises unless they are one to three whole numbers from 1."""
    if (
        not isinstance(kernel_size, tuple)
        or not 1 <= len(kernel_size) <= 3
        or not all(map(is_count, kernel_size))
    ):
        raise ValueError(
            f"{function}: kernel_size must be a tuple of one to three whole numbers from 1, one "
            f"for each space axis, got {kernel_size!r}."
        )
    return tuple(map(int, kernel_size))


def check_kind(needed: str, value: object, kind: type | tuple[type, ...]) -> None:
    """Raises unless a value has the type; `needed` begins the error, e.g. "gru: cell must be"."""
    if not isinstance(value, kind):
        raise ValueError(f"{needed}, got a {type(value).__name__}.")
