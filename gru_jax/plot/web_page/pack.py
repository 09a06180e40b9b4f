"""A net and its weights as JSON, for a page that runs them.

    net.architecture, params --describe--> {"kind": "recurrent", "cell": {"W_r": "<base64>", ...}}

Arrays are float32, in base64, row by row.
"""

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gru_jax.architecture import Architecture, build
from gru_jax.types import Input, Params

Description = dict[str, Any]
CELLS = ("gru", "learned_initial_state")
IDENTITY = ("dropout", "gaussian_noise")
"""Layers that do nothing in evaluation."""


class Reader(NamedTuple):
    """The layer that reads a net's input: the first that is not in `IDENTITY`.

    Attributes:
        layer: the layer, or the cell.
        shape: the shape of one step's input; `()` for tokens.
        vocabulary: the number of tokens, None for other inputs.
    """

    layer: Architecture
    shape: tuple[int | None, ...]
    vocabulary: int | None

    @property
    def recurrent(self) -> bool:
        """Whether the first cell reads the input itself."""
        return self.layer.builder in (*CELLS, "recurrent", "bidirectional")


def find_reader(architecture: Architecture, params: Params) -> Reader | None:
    """Returns the layer that reads the net's input; None if all layers are in `IDENTITY`."""
    name, parts, options = architecture
    if name in IDENTITY:
        return None
    if name in ("stack", "residual"):
        each = zip(parts, params if name == "stack" else [params], strict=True)
        return next(filter(None, (find_reader(part, own) for part, own in each)), None)
    layer = build(architecture)
    needed = layer.input(params) if layer.input else Input()
    return Reader(architecture, needed.shape, dict(options).get("vocabulary"))


def has_cell(architecture: Architecture) -> bool:
    """Returns whether there is a GRU in a net."""
    return architecture.builder in CELLS or any(map(has_cell, architecture.parts))


def describe(architecture: Architecture, params: Params) -> Description:
    """Returns a layer in the form that `net.js` reads; a cell becomes a recurrent layer.

    Raises:
        ValueError: if it has a cell other than `gru`, or a layer that the page cannot run.
    """
    name, parts, options = architecture.builder, architecture.parts, dict(architecture.options)
    if name in CELLS:
        return {"kind": "recurrent", "reverse": False, "cell": _cell(architecture, params)}
    if name in IDENTITY:
        return {"kind": "same"}
    if name in _DESCRIBE:
        return _DESCRIBE[name](parts, options, params)
    known = ", ".join([*CELLS, *_DESCRIBE, *IDENTITY])
    raise ValueError(f"page: net must consist of {known}, got {architecture}.")


def pack(values: Any, wrong: str = "params must be finite, got nan or inf") -> str:
    """Returns an array's float32 values in base64.

    Raises:
        ValueError: if a value is not finite.
    """
    array = np.asarray(jnp.asarray(values, jnp.float32), "<f4")
    if not np.isfinite(array).all():
        raise ValueError(f"page: {wrong}.")
    return base64.b64encode(array.tobytes()).decode()


def _cell(architecture: Architecture, params: Params) -> Description:
    """Returns a GRU with its initial state."""
    h0 = None
    if architecture.builder == "learned_initial_state":
        (architecture,), (params, h0) = architecture.parts, params
    options = dict(architecture.options)
    activations = options.get("activation"), options.get("gate_activation")
    if architecture.builder != "gru" or activations != ("tanh", "sigmoid"):
        raise ValueError(
            "page: cells must be gru with activation='tanh' and gate_activation='sigmoid', "
            f"got {architecture}."
        )
    joint, hidden = params.W_r.shape
    arrays = {name: None if a is None else pack(a) for name, a in params._asdict().items()}
    sizes = {"input": joint - hidden, "hidden": hidden}
    start = None if h0 is None else pack(h0)
    return {"reset": options["reset"], "clip": options["clip"], **sizes, **arrays, "h0": start}


def _stack(parts: Any, _: Any, params: Params) -> Description:
    each = zip(parts, params, strict=True)
    return {"kind": "stack", "parts": [describe(part, own) for part, own in each]}


def _residual(parts: Any, _: Any, params: Params) -> Description:
    return {"kind": "residual", "parts": [describe(parts[0], params)]}


def _recurrent(parts: Any, options: dict[str, Any], params: Params) -> Description:
    _check_zoneout(options)
    cell = _cell(parts[0], params)
    return {"kind": "recurrent", "reverse": options["reverse"], "cell": cell}


def _bidirectional(parts: Any, options: dict[str, Any], params: Params) -> Description:
    _check_zoneout(options)
    forward, backward = _cell(parts[0], params.forward), _cell(parts[-1], params.backward)
    merge = options["merge"]
    return {"kind": "bidirectional", "merge": merge, "forward": forward, "backward": backward}


def _check_zoneout(options: dict[str, Any]) -> None:
    if rate := options.get("zoneout"):
        raise ValueError(f"page: zoneout must be 0, got {rate}; the page cannot show zoneout.")


def _dense(_: Any, __: Any, params: Params) -> Description:
    return {"kind": "dense", "W": pack(params.W), "b": pack(params.b)}


def _embed(_: Any, __: Any, params: Params) -> Description:
    return {"kind": "embed", "size": params.W.shape[1], "W": pack(params.W)}


def _pool(_: Any, options: dict[str, Any], __: Params) -> Description:
    return {"kind": "pool", "pool": options["kind"]}


_DESCRIBE: dict[str, Callable[[Any, dict[str, Any], Params], Description]] = {
    "stack": _stack,
    "residual": _residual,
    "recurrent": _recurrent,
    "bidirectional": _bidirectional,
    "dense": _dense,
    "embed": _embed,
    "pool": _pool,
}
