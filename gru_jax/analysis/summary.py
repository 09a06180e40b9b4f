"""A net as a table: its layers as calls of their builders, its size, and its arrays.

stack
├── 0 bidirectional
│   ├── gru(64)
│   └── gru(64)
└── 1 dense(9)
31,113 parameters, float32, 124,452 bytes

array          shape    dtype    parameters
0.forward.W_r  76 x 64  float32  4,864
"""

import inspect
from collections.abc import Iterator

import jax.numpy as jnp

from gru_jax.architecture import BUILDERS, Architecture
from gru_jax.layers.layer import Layer
from gru_jax.training.checks import name_leaves
from gru_jax.types import Cell, Params

PLAIN = ("hidden_size", "size", "rate", "stddev")
"""Options that are printed without their names."""


def summary(net: Cell | Layer, params: Params) -> str:
    """Returns a table of a net: layers, number of parameters, dtypes, bytes, and each array.

    Layers of a stack are numbered; their arrays' names begin with the number. Options at their
    defaults are left out.

    Args:
        net: a cell or a layer.
        params: its parameters.

    Returns:
        Lines of text, without a final newline.

    Raises:
        ValueError: if `net` is neither.
    """
    if not isinstance(net, Cell | Layer):
        raise ValueError(f"summary: net must be a Cell or a Layer, got a {type(net).__name__}.")
    lines = list(_tree(net.architecture)) if net.architecture else ["a net with own functions"]
    named = [(name, jnp.asarray(leaf)) for name, leaf in name_leaves(params)]
    arrays = [array for _, array in named]
    dtypes = ", ".join(sorted({str(array.dtype) for array in arrays}))
    total = f"{sum(a.size for a in arrays):,} parameters, {dtypes or 'no arrays'}"
    lines.append(f"{total}, {sum(a.nbytes for a in arrays):,} bytes")
    if bad := sum(int((~jnp.isfinite(array)).sum()) for array in arrays):
        lines.append(f"{bad:,} parameters are infinite or not numbers")
    rows = [("array", "shape", "dtype", "parameters")]
    for name, array in named:
        shape = " x ".join(map(str, array.shape)) or "()"
        rows.append((name, shape, str(array.dtype), f"{array.size:,}"))
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows if arrays else ():
        right = (cell.rjust(width) for cell, width in zip(cells, others, strict=True))
        lines.append("  ".join([name.ljust(first), *right]))
    return "\n".join(lines)


def _tree(net: Architecture, number: str = "") -> Iterator[str]:
    """Yields a line for each builder, followed by its parts' lines."""
    defaults = inspect.signature(BUILDERS[net.builder]).parameters
    options = [
        repr(value) if name in PLAIN else f"{name}={value!r}"
        for name, value in net.options
        if value != ("float32" if name == "dtype" else getattr(defaults.get(name), "default", None))
    ]
    yield number + net.builder + f"({', '.join(options)})" * bool(options)
    for i, part in enumerate(net.parts, 1):
        last = i == len(net.parts)
        begins = iter(["└── " if last else "├── "])
        for line in _tree(part, f"{i - 1} " if net.builder == "stack" else ""):
            yield next(begins, "    " if last else "│   ") + line
