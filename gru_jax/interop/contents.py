"""The contents of a file, and the one sentence that says a file is damaged.

path  --a format's reader-->  Contents(net, params, leftovers)
"""

import os
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

Net = TypeVar("Net", bound=Cell | Layer, covariant=True)


class Contents(NamedTuple, Generic[Net]):
    """A net, its parameters, and the names of the arrays beside them that stay behind."""

    net: Net
    params: Params
    leftovers: tuple[str, ...] = ()


def shorten(text: object, most: int = 120) -> str:
    """Returns a text in one line, cut after `most` characters: a damaged file may hold anything."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[:most]} [...]"


def list_names(names: Iterable[object]) -> str:
    """Returns names in one line for an error."""
    return shorten(", ".join(map(str, names))) or "nothing"


def damaged(function: str, path: str | os.PathLike[str], needed: str, reason: object) -> ValueError:
    """Returns the error of a file that should hold, e.g., "a whole ONNX file".

    The reason is a text, or an exception of the library that met the damage.
    """
    text = str(reason) if " " in str(reason) else repr(reason)
    return ValueError(f"{function}: {path} must be {needed}, but: {shorten(text).rstrip('.')}.")
