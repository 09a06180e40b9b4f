"""One ONNX `GRU` node as a level: rows z, r, c, and z on the old state."""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.gates import Joined, check_symmetric, part
from gru_jax.interop.limits import ONNX_ACTIVATIONS
from gru_jax.interop.onnx.constants import File, evaluate, walk
from gru_jax.interop.onnx.operators import UnknownValue
from gru_jax.interop.stack import Level, Run

if TYPE_CHECKING:
    import onnx

ATTRIBUTES = {
    "activation_alpha": ("FLOATS", "floats", (), None),
    "activation_beta": ("FLOATS", "floats", (), None),
    "activations": ("STRINGS", "strings", (), None),
    "clip": ("FLOAT", "f", None, None),
    "direction": ("STRING", "s", "forward", ("forward", "reverse", "bidirectional")),
    "hidden_size": ("INT", "i", None, None),
    "layout": ("INT", "i", 0, (0, 1)),
    "linear_before_reset": ("INT", "i", 0, (0, 1)),
}
"""A GRU's attributes: their type, field, default, and known values if they are few."""

PARAMETERS = {
    "affine": (None, None),
    "elu": (1.0,),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (None,),
    "scaledtanh": (None, None),
    "thresholdedrelu": (None,),
}
"""The defaults of an activation's alpha, and of beta if it has one.

None is no default. Affine and ScaledTanh have none, since the standard says 1 and ONNX Runtime 0.
"""


def node_name(file: File, node: "onnx.NodeProto") -> str:
    """Returns a GRU's name, or its first output's if it has none or another has the same."""
    names = [other.name for other in file.nodes if other.op_type == "GRU"]
    if node.name and names.count(node.name) == 1:
        return node.name
    return next(filter(None, node.output), "")


def node_input(node: "onnx.NodeProto", place: int) -> str:
    """Returns the name of an input, "" if it is left out."""
    return node.input[place] if place < len(node.input) else ""


def take_level(file: File, node: "onnx.NodeProto") -> Level:
    """Returns what a GRU node is.

    Raises:
        ValueError: if it is broken, or has no equal in gru_jax.
    """
    where = f"of {node_name(file, node)!r} in {file.label}"
    options = _attributes(where, node)
    take_lengths(file, node)
    values = {
        name: _constant(file, f"{name} {where}", node_input(node, place))
        for place, name in enumerate("WRB", 1)
        if name != "B" or node_input(node, place)
    }
    # At least 1, so that an array with an axis of length 0 does not fit.
    inputs, hidden = (max((1, *values[name].shape[-1:])) for name in "WR")
    if options["hidden_size"] is not None:
        hidden = max(1, options["hidden_size"])
    directions = 1 + (options["direction"] == "bidirectional")
    h0 = _initial_state(file, node, where, (options["layout"], directions, hidden))
    values |= {} if h0 is None else {"initial_h": h0}
    sizes = {"W": (3 * hidden, inputs), "R": (3 * hidden, hidden), "B": (6 * hidden,)}
    arrays = {
        name: floats("from_onnx", f"{name} {where}", v, (directions, *sizes.get(name, (hidden,))))
        for name, v in values.items()
    }
    check_dtypes(f"from_onnx: {where.removeprefix('of ')}", arrays)
    gate_activations, activations = _activations(where, options, directions)
    b = arrays.get("B", jnp.zeros((directions, 6 * hidden), arrays["R"].dtype))
    h0 = arrays.get("initial_h", b[:, :0])
    reset = "after" if options["linear_before_reset"] else "before"
    runs = []
    for d in range(directions):
        joined = Joined(arrays["W"][d].T, arrays["R"][d].T, *jnp.split(b[d], 2))
        runs.append(
            Run(
                part("from_onnx", joined, "zrc", old=True, reset=reset),
                activation=activations[d],
                gate_activation=gate_activations[d],
                h0=h0[d] if h0[d].any() else None,
                reverse=d == 1 or options["direction"] == "reverse",
            )
        )
    return Level(tuple(runs))


def take_lengths(file: File, node: "onnx.NodeProto") -> str:
    """Returns the name of the lengths if they are an argument, "" if none or full ones are given.

    Raises:
        ValueError: if the file itself says others.
    """
    name = node_input(node, 4)
    if not name or walk(file, name)[1] & file.inputs:
        return name
    # Two sizes of time and batch, so that lengths written down in the file are seen.
    for size in (2, 3):
        try:
            got: Any = evaluate(file, name, size=size).ravel()[:9]
        except UnknownValue as reason:
            got = reason
        if not np.array_equal(got, np.full(size, size)):
            where = f"of {node_name(file, node)!r} in {file.label}"
            raise ValueError(
                f"from_onnx: sequence_lens {where} must be an input of the model or the full "
                f"length, got {got}: take it off the node, and give `apply` lengths."
            )
    return ""


def describe(name: str, alpha: float | None = None, beta: float | None = None) -> str:
    """Returns an activation in words, e.g. "Elu(alpha=1.0)"."""
    numbers = {"alpha": alpha, "beta": beta}
    parts = [f"{key}={np.float32(n)!s}" for key, n in numbers.items() if n is not None]
    return f"{name}({', '.join(parts)})" if parts else name


def _attributes(where: str, node: "onnx.NodeProto") -> dict[str, Any]:
    found = {name: default for name, (_, _, default, _) in ATTRIBUTES.items()}
    for entry in node.attribute:
        kind, field, *_ = ATTRIBUTES.get(entry.name, (None, ""))
        got = entry.AttributeType.Name(entry.type)
        if kind != got:
            raise ValueError(
                f"from_onnx: attributes {where} must be those of a GRU, got {entry.name!r} {got}."
            )
        value = getattr(entry, field)
        found[entry.name] = value.decode(errors="replace") if kind == "STRING" else value
    for name, (_, _, _, known) in ATTRIBUTES.items():
        if known and found[name] not in known:
            raise ValueError(
                f"from_onnx: {name} {where} must be {' or '.join(map(str, known))}, got "
                f"{found[name]}."
            )
    if found["clip"] is not None:
        raise ValueError(
            f"from_onnx: clip {where} must not be there, got {found['clip']:g}: ONNX clips what "
            "goes into the activations, our clip is of the state, so no net of ours is the same."
        )
    return found


def _constant(file: File, what: str, name: str) -> np.ndarray:
    try:
        value = evaluate(file, name)
    except UnknownValue as reason:
        raise ValueError(f"from_onnx: {what} must be a constant, got {reason}.") from reason
    if value.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"from_onnx: {what} must be of 16 to 64 bits, got {value.dtype}.")
    return value


def _initial_state(
    file: File, node: "onnx.NodeProto", where: str, sizes: tuple[int, int, int]
) -> np.ndarray | None:
    """Returns what each direction begins at, if that is a constant and not an argument."""
    layout, directions, hidden = sizes
    name = node_input(node, 5)
    if not name or walk(file, name)[1] & file.inputs:
        return None
    needed = f"from_onnx: initial_h {where} must be one state for all sequences of a batch"
    rows: list[np.ndarray] = []
    # One, since a file may be made for it; and three, since their rows may differ.
    for batch in (1, 3):
        try:
            states = evaluate(file, name, size=batch)
        except UnknownValue as reason:
            if rows:  # a file for one size of batch, with all rows written down
                continue
            raise ValueError(f"{needed}, got {reason}.") from reason
        if states.ndim != 3 or states.size == 0:
            raise ValueError(f"{needed}, got {states.shape}.")
        if (states != states).any():
            raise ValueError(
                f"from_onnx: initial_h {where} must be numbers, got NaN: take it off the node, and "
                "give `apply` the state."
            )
        rows += list(np.moveaxis(states, 1 - layout, 0))
        if any(row.shape != (directions, hidden) or (row != rows[0]).any() for row in rows):
            raise ValueError(
                f"{needed}, ({directions}, {hidden}) for each, got {states.shape} with rows that "
                "are not: take it off the node, and give `apply` the state."
            )
    return rows[0]


def _activations(
    where: str, options: dict[str, Any], directions: int
) -> tuple[list[str], list[str]]:
    """Returns our names of the gates' and of the candidate's, for each direction."""
    alphas, betas = iter(options["activation_alpha"]), iter(options["activation_beta"])
    names = [name.decode(errors="replace") for name in options["activations"]]
    names = names or ["Sigmoid", "Tanh"] * directions
    if len(names) != 2 * directions:
        raise ValueError(
            f"from_onnx: activations {where} must be {2 * directions}, got {', '.join(names)}."
        )
    known = {describe(*entry).lower(): name for name, entry in ONNX_ACTIVATIONS.items()}
    found = []
    for name in names:
        defaults = PARAMETERS.get(name.lower(), ())
        got = describe(name, *map(next, (alphas, betas), defaults))
        if got.lower() not in known:
            needed = ", ".join(describe(*entry) for entry in ONNX_ACTIVATIONS.values())
            raise ValueError(
                f"from_onnx: activations {where} must be among {needed}, got {got}: no other is "
                "the same function as one of ours."
            )
        found.append(known[got.lower()])
    for activation in found[::2]:
        check_symmetric("from_onnx", f"activations {where}", activation)
    return found[::2], found[1::2]
