"""What a cell or a layer is, as data.

    gru(64).architecture == Architecture("gru", (), (("hidden_size", 64), ("reset", "before"), ...))

Each builder says it of what it builds; `building.build` goes the other way.
"""

from typing import Any

import numpy as np

from gru_jax.types import Architecture, Cell, Layer


def describe(builder: str, /, *parts: Cell | Layer, **options: Any) -> Architecture | None:
    """Returns what is built by `builder`, or None where an argument of it is no plain value.

    Args:
        builder: the name of the building function.
        parts: the cells or layers that it was given.
        options: its other arguments, but for those that only say how parameters begin.
    """
    described = tuple(part.architecture for part in parts if part.architecture)
    values = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    plain = all(v is None or isinstance(v, bool | int | float | str) for v in values.values())
    if len(described) < len(parts) or not plain:
        return None
    return Architecture(builder, described, tuple(values.items()))


def as_dict(architecture: Architecture) -> dict[str, Any]:
    """Returns an architecture as JSON has it."""
    parts = [as_dict(part) for part in architecture.parts]
    more = {"parts": parts} if parts else {}
    return {"builder": architecture.builder, **dict(architecture.options), **more}


def from_dict(entry: dict[str, Any]) -> Architecture:
    """Returns the architecture of which `as_dict` made the entry; TypeErrors if it is another."""
    options = {k: v for k, v in entry.items() if k not in ("builder", "parts")}
    parts = tuple(from_dict(part) for part in entry.get("parts", ()))
    return Architecture(entry["builder"], parts, tuple(options.items()))
