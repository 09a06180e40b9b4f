"""The constants of an ONNX file, read without running it: arrays, and arrays only moved.

    path  --read-->  File  --evaluate(name)-->  array, or UnknownValue

A file from outside is not trusted. Nothing outside its folder is read. Only operators that move
arrays or make constants are evaluated. All that lead to one tensor may together make `FACTOR` times
the bytes that they begin with, and `LIMIT` more.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gru_jax.interop.contents import damaged, shorten
from gru_jax.interop.onnx.operators import MOVING, READING, UnknownValue, check_tensor, run

if TYPE_CHECKING:
    import onnx

LARGEST = 2**31 - 1  # bytes of a file, which protobuf counts in 32 bits
FACTOR = 16  # PyTorch's weights are cut, joined and turned, each time as a whole
LIMIT = 2**26  # bytes, for shapes, and states that are made of one number


class File(NamedTuple):
    """A model and where its tensors are made.

    Attributes:
        label: what messages call it.
        folder: where its external data is; None if it has no place.
        model: the model.
        nodes: those of its graph, in its order.
        makers: the place in `nodes` of what makes a tensor.
        tensors: the initialisers.
        inputs: names of the graph's inputs that are not initialisers.
    """

    label: str
    folder: Path | None
    model: "onnx.ModelProto"
    nodes: list["onnx.NodeProto"]
    makers: dict[str, int]
    tensors: dict[str, "onnx.TensorProto"]
    inputs: set[str]


def read(source: "onnx.ModelProto | str | os.PathLike[str]") -> File:
    """Returns a model, without its external data yet."""
    import onnx

    label, folder, model = "source", None, source
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f"from_onnx: source must be a file, got {path}, where there is none."
            )
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(
                f"from_onnx: source must be {LARGEST} bytes or fewer, which protobuf holds, got "
                f"{path} of {size}: larger models have their weights in files beside them."
            )
        content = path.read_bytes()
        label, folder = str(path), path.parent
        try:
            model = onnx.ModelProto.FromString(content)
        except Exception as error:  # protobuf's own, another one in each of its implementations
            raise damaged("from_onnx", path, "a whole ONNX file", error) from error
    if not isinstance(model, onnx.ModelProto):
        kind = type(source).__name__
        raise ValueError(f"from_onnx: source must be an onnx.ModelProto or a path, got a {kind}.")
    nodes = list(model.graph.node)
    makers = {key: place for place, node in enumerate(nodes) for key in node.output if key}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {entry.name for entry in model.graph.input} - tensors.keys()
    return File(label, folder, model, nodes, makers, tensors, inputs)


def walk(
    file: File, name: str, stop: Mapping[str, Any] | None = None
) -> tuple[list["onnx.NodeProto"], set[str]]:
    """Returns the nodes that make a tensor, in the file's order, and the names they begin with.

    Does not follow the tensor that a `Shape` is read from.
    """
    places, ends, seen, left = set(), set(), set(stop or ()) | {""}, [name]
    while left:
        key = left.pop()
        if key in seen:
            continue
        seen.add(key)
        if key not in file.makers:
            ends.add(key)
            continue
        places.add(file.makers[key])
        node = file.nodes[file.makers[key]]
        left += [] if node.op_type == "Shape" else node.input
    return [file.nodes[place] for place in sorted(places)], ends


def evaluate(
    file: File, name: str, given: Mapping[str, np.ndarray] | None = None, *, size: int | None = None
) -> np.ndarray:
    """Returns the value of a tensor.

    Args:
        file: what it is in.
        name: of the tensor.
        given: values of other tensors; operators may only move them, not compute with them.
        size: what every axis is taken to be where a shape is read; None refuses to read any.

    Raises:
        UnknownValue: if it cannot be known.
    """
    nodes, ends = walk(file, name, given)
    values = {key: _read_tensor(file, key) for key in ends} | dict(given or {})
    moved = set(given or ())
    room = FACTOR * sum(array.nbytes for array in values.values()) + LIMIT
    for node in nodes:
        inputs = {key: values.get(key) for key in node.input if key}
        if node.op_type == "Shape" and size is not None:
            at = {entry.name: entry.i for entry in node.attribute}
            values[node.output[0]] = np.full(4, size)[at.get("start") : at.get("end")]
            continue
        allowed = MOVING if moved & inputs.keys() else MOVING | READING
        if node.domain not in ("", "ai.onnx") or node.op_type not in allowed:
            raise UnknownValue(f"the output of a {node.op_type}")
        outputs = run(file.model, node, inputs, room)
        # A constant is held by the file, as what the operators begin with is.
        room += (FACTOR if node.op_type == "Constant" else -1) * sum(a.nbytes for a in outputs)
        values |= zip(node.output, outputs, strict=False)
        moved |= set(node.output) if moved & inputs.keys() else set()
    if name not in values:
        raise UnknownValue(f"nothing by the name {name!r}")
    return np.asarray(values[name])


def _read_tensor(file: File, name: str) -> np.ndarray:
    """Returns an initialiser."""
    import onnx

    if name not in file.tensors:
        raise UnknownValue(
            f"the graph's input {name!r}" if name in file.inputs else f"no tensor {name!r}"
        )
    check_tensor(f"a tensor {name!r}", file.tensors[name], external=file.folder is not None)
    try:
        return onnx.numpy_helper.to_array(file.tensors[name], str(file.folder or ""))
    except Exception as error:  # of many kinds: sizes, types, paths
        raise UnknownValue(f"a tensor {name!r} that cannot be read: {shorten(error)}") from error
