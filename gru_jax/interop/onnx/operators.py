"""One ONNX operator on known arrays, if it moves them or makes constants.

The evaluator is ONNX's own. Nodes that would make it read another file, or make more than there is
room for, are refused before.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gru_jax.interop.contents import shorten

if TYPE_CHECKING:
    import onnx

MOVING = set("Cast Concat Dropout Identity Reshape Split Squeeze Transpose Unsqueeze".split())
READING = {"Constant", "ConstantOfShape", "Expand", "Gather", "Slice", "Tile"}
KINDS = ("FLOAT", "FLOATS", "INT", "INTS", "TENSOR")  # of attributes
AXES = 64  # that NumPy's arrays have at most


class UnknownValue(Exception):
    """Why a value cannot be known from the file; ends a sentence."""


def run(
    model: "onnx.ModelProto", node: "onnx.NodeProto", inputs: Mapping[str, Any], room: int
) -> list[np.ndarray]:
    """Returns the outputs of a model's node, which may take `room` bytes.

    Raises:
        UnknownValue: if it is broken, or there is no room.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    for entry in node.attribute:
        # The evaluator makes arrays of all attributes, also of unknown ones.
        if (kind := entry.AttributeType.Name(entry.type)) not in KINDS:
            raise UnknownValue(f"the output of a {node.op_type} with {entry.name!r} {kind}")
        check_tensor(f"the output of a {node.op_type}", entry.t, external=False)
    graph = onnx.helper.make_graph([node], "node", [], [])
    for key in inputs:
        graph.input.add(name=key)
    for key in node.output:
        graph.output.add(name=key)
    single = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    try:
        size = _size(node, [np.asarray(inputs[key]) for key in node.input if key])
        if size > room:
            raise UnknownValue(f"the output of a {node.op_type} of {size:.1e} bytes")
        return [np.asarray(value) for value in ReferenceEvaluator(single).run(None, dict(inputs))]
    except UnknownValue:
        raise
    except Exception as error:  # whatever a broken node makes NumPy and ONNX raise
        reason = f"the output of a {node.op_type} that cannot be run: {shorten(error, 80)}"
        raise UnknownValue(reason) from error


def check_tensor(what: str, tensor: "onnx.TensorProto", *, external: bool) -> None:
    """Raises an `UnknownValue` if a tensor is of words, or in another file and not `external`."""
    import onnx

    if tensor.data_type == onnx.TensorProto.STRING:  # NumPy makes each as long as the longest
        raise UnknownValue(f"{what} of words")
    if tensor.data_location == onnx.TensorProto.EXTERNAL and not external:
        raise UnknownValue("numbers in another file")


def _size(node: "onnx.NodeProto", arrays: list[np.ndarray]) -> int:
    """Returns how many bytes a node makes of these arrays.

    Raises:
        ValueError: if it takes more numbers than it can use, each of which becomes an object.
        UnknownValue: if it makes words.
    """
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    at = {entry.name: entry for entry in node.attribute}
    pieces = at["num_outputs"].i if "num_outputs" in at else 0
    if pieces > len(node.output):
        raise ValueError(f"{pieces} pieces for {len(node.output)} outputs")
    count = {"Concat": len(arrays), "ConstantOfShape": 0, "Gather": 2}.get(node.op_type, 1)
    data, rest = arrays[:count], arrays[count:]
    numbers = max((array.size for array in rest), default=0)
    if numbers > AXES:
        raise ValueError(f"{numbers} numbers where there are {AXES} axes at most")
    shape = [int(n) for n in rest[0].flat] if rest else []
    match node.op_type:
        case "Cast":
            if at["to"].i == TensorProto.STRING:
                raise UnknownValue("the output of a Cast to words")
            return data[0].size * tensor_dtype_to_np_dtype(at["to"].i).itemsize
        case "Concat":
            dtype = np.result_type(*(array.dtype for array in data))
            return sum(array.size for array in data) * dtype.itemsize
        case "ConstantOfShape":
            kind = at["value"].t.data_type if "value" in at else TensorProto.FLOAT
            return math.prod(shape) * tensor_dtype_to_np_dtype(kind).itemsize
        case "Expand":
            whole = np.broadcast_shapes(data[0].shape, tuple(shape))
            # The evaluator multiplies ones of this shape, be it with nothing.
            return max(math.prod(whole), math.prod(shape)) * data[0].itemsize
        case "Gather":
            axis = at["axis"].i if "axis" in at else 0
            rows = np.delete(data[0].shape, axis).tolist()
            return math.prod(rows) * data[1].size * data[0].itemsize
        case "Tile":
            return math.prod(shape) * data[0].nbytes
    return sum(array.nbytes for array in data)
