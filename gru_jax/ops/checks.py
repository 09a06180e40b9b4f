"""Checks that arguments everywhere need; each raises one clear ValueError."""

import numpy as np


def check_count(function: str, name: str, count: object) -> None:
    """Raises unless a size or a number of layers is a whole number from 1."""
    if not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"{function}: {name} must be a whole number from 1, got {count!r}.")


def check_kind(needed: str, value: object, kind: type | tuple[type, ...]) -> None:
    """Raises unless a value has the type; `needed` begins the error, e.g. "gru: cell must be"."""
    if not isinstance(value, kind):
        raise ValueError(f"{needed}, got a {type(value).__name__}.")
