"""ONNX in: ONNX Runtime is the oracle, and ONNX's own evaluator for float64."""

import jax
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_cases import (
    BATCH,
    DIRECTIONS,
    HIDDEN,
    LENGTHS,
    RESHAPE,
    SIZES,
    SQUEEZE,
    TIME,
    TRANSPOSE,
    assert_close,
    draw_weights,
    draw_xs,
    gru,
    model_of,
    run,
    stack_of,
)

from gru_jax import interop
from gru_jax.interop.limits import ONNX_ACTIVATIONS
from gru_jax.layers.recurrent import Directions


def side_by_side(Y):
    """Returns Y [time, direction, batch, hidden] as ys."""
    return Y.transpose(2, 0, 1, 3).reshape(BATCH, TIME, -1)


def assert_reads_as_it_runs(rng, model, **options):
    xs = draw_xs(rng)
    net, params = interop.from_onnx(model, **options)
    ys, state = net.apply(params, xs)
    Y, Y_h = run(model, X=xs.swapaxes(0, 1))
    np.testing.assert_allclose(ys, side_by_side(Y), atol=2e-6)
    assert_close(state, list(Y_h), atol=2e-6)
    return net, params


@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_node_is_what_onnx_runtime_computes(rng, direction, linear_before_reset):
    """With both biases of each gate, lengths, and initial states from outside."""
    node = gru(
        ["X", "W", "R", "B", "lengths", "h0"],
        hidden_size=HIDDEN,
        direction=direction,
        linear_before_reset=linear_before_reset,
    )
    inputs = [("lengths", TensorProto.INT32, 1), ("h0", TensorProto.FLOAT, 3)]
    model = model_of([node], draw_weights(rng, direction), inputs=inputs)
    xs = draw_xs(rng)
    h0 = rng.normal(size=(DIRECTIONS[direction], BATCH, HIDDEN)).astype(np.float32)
    net, params = interop.from_onnx(model)
    state = Directions(*h0) if direction == "bidirectional" else h0[0]
    ys, last = net.apply(params, xs, state, lengths=LENGTHS)
    Y, Y_h = run(model, X=xs.swapaxes(0, 1), lengths=LENGTHS, h0=h0)
    np.testing.assert_allclose(ys, side_by_side(Y), atol=1e-6)
    assert_close(last, list(Y_h), atol=1e-6)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.usefixtures("x64")
def test_both_layouts_are_what_onnx_computes_in_float64(
    rng, direction, linear_before_reset, layout
):
    h0 = rng.normal(size=(DIRECTIONS[direction], 1, HIDDEN)).repeat(BATCH, 1)
    node = gru(
        ["X", "W", "R", "B", "", "h0"],
        hidden_size=HIDDEN,
        direction=direction,
        linear_before_reset=linear_before_reset,
        layout=layout,
    )
    weights = draw_weights(rng, direction, dtype=np.float64)
    constants = weights | {"h0": h0.swapaxes(0, 1) if layout else h0}
    model = model_of([node], constants, dtype=np.float64)
    xs = draw_xs(rng, np.float64)
    net, params = interop.from_onnx(model)
    ys, state = net.apply(params, xs)
    feeds = {"X": xs if layout else xs.swapaxes(0, 1)}
    Y, Y_h = ReferenceEvaluator(model).run(None, feeds)
    if layout:
        Y, Y_h = Y.transpose(1, 2, 0, 3), Y_h.swapaxes(0, 1)
    np.testing.assert_allclose(ys, side_by_side(Y), rtol=1e-12, atol=1e-14)
    assert_close(state, list(Y_h), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("ours", ONNX_ACTIVATIONS)
def test_an_activation_is_onnxs_in_each_direction(rng, ours):
    """The numbers of several are consumed in turn; a file without biases has none."""
    name, alpha, beta = ONNX_ACTIVATIONS[ours]
    node = gru(
        ["X", "W", "R"],
        hidden_size=HIDDEN,
        direction="bidirectional",
        activations=["Sigmoid", name, "HardSigmoid", "tanh"],
        activation_alpha=[*([] if alpha is None else [alpha]), 1 / 6],
        activation_beta=[*([] if beta is None else [beta]), 0.5],
    )
    weights = draw_weights(rng, "bidirectional")
    model = model_of([node], {name: weights[name] for name in "WR"})
    net, _ = assert_reads_as_it_runs(rng, model)
    ahead, back = (dict(part.options) for part in net.architecture.parts)
    assert (ahead["gate_activation"], ahead["activation"]) == ("sigmoid", ours)
    assert (back["gate_activation"], back["activation"]) == ("hard_sigmoid", "tanh")


def test_elu_without_its_number_is_onnxs(rng):
    node = gru(["X", "W", "R"], hidden_size=HIDDEN, activations=["Sigmoid", "Elu"])
    net, _ = assert_reads_as_it_runs(rng, model_of([node], draw_weights(rng)))
    assert dict(net.architecture.parts[0].options)["activation"] == "elu"


@pytest.mark.parametrize("opset", [7, 13, 22])
def test_weights_are_found_behind_other_nodes_in_any_opset(rng, opset):
    weights = draw_weights(rng)
    rows = weights["W"][0].T.astype(np.float16)
    weights["W"] = rows.T[None].astype(np.float32)
    axes = {"axes": [0]} if opset < 13 else {}
    nodes = [
        helper.make_node("Transpose", ["rows"], ["half"], perm=[1, 0]),
        helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["whole"] + ["axes"] * (not axes), ["W"], **axes),
        helper.make_node("Constant", [], ["R"], value=numpy_helper.from_array(weights["R"])),
        helper.make_node("Identity", ["bias"], ["B"]),
        gru(["X", "W", "R", "B"], hidden_size=HIDDEN),
    ]
    constants = {"rows": rows, "bias": weights["B"]} | ({} if axes else {"axes": np.array([0])})
    found = interop.from_onnx(model_of(nodes, constants, opset=opset))
    plain = interop.from_onnx(model_of(nodes[-1:], weights, opset=opset))
    jax.tree.map(np.testing.assert_array_equal, found[1], plain[1])
    assert_reads_as_it_runs(rng, model_of(nodes, constants, opset=opset))


IN_BETWEEN = {
    "as PyTorch writes both directions": ([TRANSPOSE, RESHAPE], SIZES, "bidirectional"),
    "as PyTorch writes one": ([SQUEEZE], {"axes": np.array([1])}, "reverse"),
    "each direction by itself": (
        [
            helper.make_node("Split", ["first"], ["a", "b"], axis=1),
            helper.make_node("Concat", ["a", "b"], ["c"], axis=3),
            helper.make_node("Squeeze", ["c", "axes"], ["xs"]),
        ],
        {"axes": np.array([1])},
        "bidirectional",
    ),
    "dropout": (
        [
            helper.make_node("Dropout", ["first", "half"], ["d"]),
            helper.make_node("Identity", ["d"], ["t0"]),
            helper.make_node("Transpose", ["t0"], ["t"], perm=[0, 2, 1, 3]),
            RESHAPE,
        ],
        {"half": np.array(0.5, np.float32)} | SIZES,
        "bidirectional",
    ),
}


@pytest.mark.parametrize("case", IN_BETWEEN)
def test_nodes_that_hand_on_all_they_have_are_a_stack(rng, case):
    between, constants, direction = IN_BETWEEN[case]
    model = stack_of(rng, between, constants=constants, direction=direction)
    xs = draw_xs(rng)
    net, params = interop.from_onnx(model)
    ys, (_, last) = net.apply(params, xs)
    Y, Y_h = run(model, X=xs.swapaxes(0, 1))
    np.testing.assert_allclose(ys, side_by_side(Y), atol=1e-6)
    assert_close(last, list(Y_h), atol=1e-6)
    for name, alone in zip(("one", "two"), params, strict=True):
        jax.tree.map(np.testing.assert_array_equal, interop.from_onnx(model, name=name)[1], alone)


@pytest.mark.parametrize("layout", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.usefixtures("x64")
def test_nodes_of_either_layout_are_a_stack(rng, layout):
    """Batch and time change places between two that differ in layout."""
    shared = {"direction": "bidirectional", "hidden_size": HIDDEN}
    order = {(1, 1): [0, 1, 2, 3], (0, 1): [2, 0, 1, 3], (1, 0): [1, 0, 2, 3]}[layout]
    weights = draw_weights(rng, "bidirectional", dtype=np.float64, number="0")
    weights |= draw_weights(rng, "bidirectional", inputs=2 * HIDDEN, dtype=np.float64, number="1")
    nodes = [
        gru(["X", "W0", "R0", "B0"], ["first", "h"], "one", layout=layout[0], **shared),
        helper.make_node("Transpose", ["first"], ["t"], perm=order),
        RESHAPE,
        gru(["xs", "W1", "R1", "B1"], name="two", layout=layout[1], **shared),
    ]
    model = model_of(nodes, weights | SIZES, dtype=np.float64)
    xs = draw_xs(rng, np.float64)
    net, params = interop.from_onnx(model)
    feeds = {"X": xs if layout[0] else xs.swapaxes(0, 1)}
    Y, _ = ReferenceEvaluator(model).run(None, feeds)
    Y = Y.transpose(1, 2, 0, 3) if layout[1] else Y
    np.testing.assert_allclose(net.apply(params, xs)[0], side_by_side(Y), rtol=1e-12, atol=1e-14)


def full_lengths(name):
    """Returns nodes that compute them from X, as old tf2onnx writes them."""
    return [
        helper.make_node("Shape", ["X"], [f"{name}.shape"]),
        helper.make_node("Cast", [f"{name}.shape"], [f"{name}.floats"], to=TensorProto.FLOAT),
        helper.make_node(
            "Slice", [f"{name}.floats"], [f"{name}.batch"], axes=[0], starts=[1], ends=[2]
        ),
        helper.make_node("Cast", [f"{name}.batch"], [f"{name}.repeats"], to=TensorProto.INT64),
        helper.make_node(
            "Slice", [f"{name}.floats"], [f"{name}.time"], axes=[0], starts=[0], ends=[1]
        ),
        helper.make_node("Tile", [f"{name}.time", f"{name}.repeats"], [f"{name}.tiled"]),
        helper.make_node("Cast", [f"{name}.tiled"], [name], to=TensorProto.INT32),
    ]


def test_full_lengths_that_a_model_computes_are_none(rng):
    """Also where each of two nodes has its own."""
    weights = draw_weights(rng, number="0")
    weights |= draw_weights(rng, inputs=HIDDEN, number="1")
    nodes = [
        *full_lengths("n0"),
        *full_lengths("n1"),
        gru(["X", "W0", "R0", "B0", "n0"], ["first", ""], "one", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["first"], ["xs"], axes=[1]),
        gru(["xs", "W1", "R1", "B1", "n1"], name="two", hidden_size=HIDDEN),
    ]
    model = model_of(nodes, weights, opset=9)
    xs = draw_xs(rng)
    net, params = interop.from_onnx(model)
    Y, _ = run(model, X=xs.swapaxes(0, 1))
    np.testing.assert_allclose(net.apply(params, xs)[0], side_by_side(Y), atol=1e-6)
