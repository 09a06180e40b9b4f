"""From ONNX: the `GRU` nodes of a model -> levels -> net, params."""

import os
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gru_jax.interop.contents import Contents, list_names
from gru_jax.interop.onnx.constants import File, evaluate, read, walk
from gru_jax.interop.onnx.gru_node import node_input, node_name, take_lengths, take_level
from gru_jax.interop.onnx.operators import UnknownValue
from gru_jax.interop.stack import Level, assemble
from gru_jax.layers.layer import Layer
from gru_jax.types import Params

if TYPE_CHECKING:
    import onnx

    Source: TypeAlias = onnx.ModelProto | str | os.PathLike[str]

INT32, INT64 = 6, 7
"""Of `onnx.TensorProto.DataType`."""


def from_onnx(source: "Source", *, name: str | None = None) -> tuple[Layer, Params]:
    """Returns the GRUs of an ONNX model as a net of gru_jax.

    The nodes before and behind the GRUs are left out. Each of several GRUs must read the outputs
    of the one before, two directions side by side, unchanged; they become a stack then. Dropout
    between them is the identity, as in a model for inference, and is dropped.

    Lengths (`sequence_lens`) and initial states that the model computes from its inputs are
    arguments of `apply`, not part of the net. Full lengths are ignored. A constant initial state,
    the same for every sequence, becomes `learned_initial_state`; zeros are ignored. The state of a
    row of length 0 is its initial state here, and zeros in ONNX Runtime.

    Args:
        source: a model or a file, beside which its external data is.
        name: of the GRU to take, that of its node or, if it has none or shares it, of its first
            output; None takes all.

    Returns:
        The net and its parameters: one layer as it is, more in a stack.

    Raises:
        ValueError: if there is no GRU by this name, several are no stack, one has no equal in
            gru_jax, or the file is damaged.
        FileNotFoundError: if there is no such file.
    """
    return read_model(source, name)[:2]


def read_model(
    source: "onnx.ModelProto | str | os.PathLike[str]", name: str | None
) -> Contents[Layer]:
    """Returns the GRUs of a model, as `from_onnx` does, and the names of the other tensors."""
    file = read(source)
    grus = [n for n in file.nodes if n.op_type == "GRU" and n.domain in ("", "ai.onnx")]
    chosen = [node for node in grus if name in (None, node_name(file, node))]
    many = list_names(repr(node_name(file, node)) for node in grus)
    if not grus:
        lstm = any(node.op_type == "LSTM" for node in file.nodes)
        got = "an LSTM, which gru_jax does not read from ONNX" if lstm else "none"
        raise ValueError(
            f"from_onnx: {file.label} must have a GRU in its main graph, outside If, Loop and "
            f"functions, got {got}."
        )
    wanted = f"from_onnx: name must be that of one GRU in {file.label} ({many}), got {name!r}"
    if not chosen or (name is not None and len(chosen) > 1):
        raise ValueError(f"{wanted}, which names {len(chosen) or 'none'} of them.")
    levels = [take_level(file, node) for node in chosen]
    for level, (before, after) in zip(levels, pairwise(chosen), strict=False):
        if reason := _not_a_stack(file, before, after, level):
            raise ValueError(f"{wanted}, but all of them are no stack: {reason}.")
    net, params = assemble("from_onnx", levels)
    return Contents(net, params, _leftovers(file, chosen))


def _leftovers(file: File, grus: list["onnx.NodeProto"]) -> tuple[str, ...]:
    """Returns the names of the tensors that these GRUs are not made of.

    Leaves out single numbers and lists of integers, such as axes and shapes.
    """
    constants = {
        node.output[0]: entry.t
        for node in file.nodes
        if node.op_type == "Constant"
        for entry in node.attribute
        if entry.name == "value"
    }
    taken: set[str] = set()
    for gru in grus:
        for place in range(1, len(gru.input)):
            nodes, ends = walk(file, gru.input[place])
            if not ends & file.inputs:  # else it is an argument of `apply`
                taken |= ends.union(*(node.output for node in nodes))
    return tuple(
        name
        for name, tensor in (file.tensors | constants).items()
        if name not in taken
        and tensor.dims
        and (len(tensor.dims) > 1 or tensor.data_type not in (INT32, INT64))
    )


def _not_a_stack(
    file: File, before: "onnx.NodeProto", after: "onnx.NodeProto", level: Level
) -> str | None:
    """Returns why one node does not follow the other as in a stack; None if it does."""
    first, second = node_name(file, before), node_name(file, after)
    if take_lengths(file, before) != take_lengths(file, after):
        return f"{first!r} and {second!r} are given different lengths"
    if any(node.op_type == "GRU" for node in walk(file, node_input(after, 5))[0]):
        return f"the initial state of {second!r} comes from another GRU"
    rng = np.random.default_rng(0)
    # Two sizes, so that a shape written down in the file, which fits one, is seen.
    for time, batch in ((3, 2), (2, 5)):
        ys = rng.normal(size=(time, batch, len(level.runs), level.runs[0].hidden_size))
        ys = ys.astype(level.runs[0].dtype)
        xs = ys.reshape(time, batch, -1)
        given = ys.swapaxes(0, 1) if _layout(before) else ys.swapaxes(1, 2)
        try:
            got = evaluate(file, node_input(after, 0), {before.output[0]: given})
        except UnknownValue as reason:
            return f"what {second!r} reads is not the outputs of {first!r} alone, but {reason}"
        if not np.array_equal(got, xs.swapaxes(0, 1) if _layout(after) else xs):
            return f"{second!r} reads the outputs of {first!r} rounded or in another arrangement"
    return None


def _layout(node: "onnx.NodeProto") -> int:
    return next((entry.i for entry in node.attribute if entry.name == "layout"), 0)
