"""What the nodes around the GRUs of an ONNX model say: stacks, names and initial states."""

import re

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_cases import AXES, HIDDEN, RESHAPE, ROWS, SQUEEZE, TRANSPOSE, node, stack_of, with_initial

import gru_jax as gj
from gru_jax import interop


def test_a_shape_that_fits_one_size_alone_is_no_stack(rng):
    between = [TRANSPOSE, RESHAPE]
    model = stack_of(rng, between, constants={"sizes": np.array([3, 2, 2 * HIDDEN])})
    with pytest.raises(ValueError, match="a Reshape that cannot be run"):
        interop.from_onnx(model)


def test_outputs_that_are_rounded_on_the_way_are_no_stack(rng):
    between = [
        node("Cast", ["first"], ["half"], to=TensorProto.FLOAT16),
        node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        node("Squeeze", ["whole", "axes"], ["xs"]),
    ]
    model = stack_of(rng, between, constants=AXES, direction="forward")
    with pytest.raises(ValueError, match="reads the outputs of 'one' rounded"):
        interop.from_onnx(model)


@pytest.mark.parametrize("shared", ["a", ""])
def test_nodes_that_share_a_name_or_have_none_go_by_their_outputs(rng, shared):
    model = stack_of(rng, [SQUEEZE], constants=AXES, direction="forward")
    for gru_node in model.graph.node[0], model.graph.node[2]:
        gru_node.name = shared
    _, params = interop.from_onnx(model)
    for name, alone in zip(("first", "Y"), params, strict=True):
        jax.tree.map(np.testing.assert_array_equal, interop.from_onnx(model, name=name)[1], alone)
    with pytest.raises(ValueError, match=re.escape("('first', 'Y'), got 'a', which names none")):
        interop.from_onnx(model, name="a")


def test_rows_that_only_a_larger_batch_has_are_looked_at(rng):
    cut = [
        node("Shape", ["X"], ["batch"], start=1, end=2),
        node("Slice", ["rows", "0", "batch", "1"], ["h0"]),
    ]
    constants = {"rows": ROWS[:, [0, 0, 1]], "0": np.array([0]), "1": np.array([1])}
    with pytest.raises(ValueError, match="one state for all sequences"):
        interop.from_onnx(with_initial(rng, cut, **constants))


def test_an_initial_state_is_learned_where_it_is_a_constant(rng):
    """Written down for each sequence or for one, or spread over however many there are.

    Also where a file fits one size of batch alone, and where constants are inputs, too, as in files
    of IR version 3.
    """
    row = rng.normal(size=HIDDEN).astype(np.float32)
    alone = [
        node("Shape", ["X"], ["batch"], start=1, end=2),
        node("Concat", ["one", "batch", "hidden"], ["sizes"], axis=0),
        node("Reshape", ["row", "sizes"], ["h0"]),
    ]
    spread = [
        node("Shape", ["X"], ["shape"]),
        node("Gather", ["shape", "1"], ["batch"]),
        node("Unsqueeze", ["batch", "0"], ["batches"]),
        node("Concat", ["one", "batches", "one"], ["sizes"], axis=0),
        node("Expand", ["row", "sizes"], ["h0"]),
    ]
    numbers = {"1": np.array(1), "0": np.array([0]), "one": np.array([1]), "row": row[None, None]}
    two = np.broadcast_to(row, (1, 2, HIDDEN))
    old = with_initial(rng, h0=two)
    old.graph.input.extend(onnx.ValueInfoProto(name=key.name) for key in old.graph.initializer)
    for model in (
        old,
        with_initial(rng, h0=np.broadcast_to(row, (1, 3, HIDDEN))),
        with_initial(rng, spread, **numbers),
        with_initial(rng, spread, **numbers | {"row": two}),
        with_initial(rng, alone, one=np.array([1]), hidden=np.array([HIDDEN]), row=row),
    ):
        net, params = interop.from_onnx(model)
        assert net.architecture.parts[0].builder == "learned_initial_state"
        np.testing.assert_array_equal(params.h0, row)


def test_an_initial_state_is_an_argument_where_it_is_computed_or_zeros(rng):
    computed = [node("ReduceMean", ["X"], ["m"]), node("Add", ["m", "row"], ["h0"])]
    for model in (
        with_initial(rng, computed, row=ROWS[:, 1:]),
        with_initial(rng, h0=np.zeros_like(ROWS)),
    ):
        net, params = interop.from_onnx(model)
        assert net.architecture.parts[0].builder == "gru"
        assert isinstance(params, gj.GRUParams)
