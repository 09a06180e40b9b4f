"""What ONNX models say and ours cannot: one sentence each."""

import numpy as np
import pytest
from onnx_cases import (
    AXES,
    RESHAPE,
    ROWS,
    SIZES,
    SQUEEZE,
    TRANSPOSE,
    W,
    draw_weights,
    gru,
    model_of,
    node,
    one,
    stack_of,
    with_initial,
)
from refusals import refused

from gru_jax import interop


def with_lengths(rng, before=(), **constants):
    return one(rng, ("X", "W", "R", "B", "n"), before, constants)


ONE_STATE = "initial_h of 'g' in source must be one state for all sequences of a batch"
LENGTHS = "sequence_lens of 'g' in source must be an input of the model or the full length"
TAKEN_OFF = "take it off the node, and give `apply`"
STACK = (
    "name must be that of one GRU in source ('one', 'two'), got None, but all of them are no stack"
)

REFUSED = {
    "name must be that of one GRU in source ('g'), got 'h', which names none of them.": (
        lambda rng: (one(rng), "h")
    ),
    "name must be that of one GRU in source ('one', 'two'), got 'g', which names none of them.": (
        lambda rng: (stack_of(rng, [TRANSPOSE, RESHAPE], constants=SIZES), "g")
    ),
    "name must be that of one GRU in source ('Y', 'Y'), got 'Y', which names 2 of them.": (
        lambda _: (model_of([gru(["X"], name="Y"), gru(["X"], name="")], {}), "Y")
    ),
    "name must be that of one GRU in source ('Y_h'), got 'Y', which names none of them.": (
        lambda _: (model_of([gru(["X"], ["", "Y_h"], "")], {}), "Y")
    ),
    "source must have a GRU in its main graph, outside If, Loop and functions, got none.": (
        lambda rng: one(rng, domain="com.own")
    ),
    "clip of 'g' in source must not be there, got 3: ONNX clips what goes into the activations, "
    "our clip is of the state, so no net of ours is the same.": lambda rng: one(rng, clip=3.0),
    "clip of 'g' in source must not be there, got 0: ONNX clips what goes into the activations, "
    "our clip is of the state, so no net of ours is the same.": lambda rng: one(rng, clip=0.0),
    "activations of 'g' in source must be among Elu(alpha=1.0), HardSigmoid(alpha=0.16666667, "
    "beta=0.5), Affine(alpha=1.0, beta=0.0), Relu, Sigmoid, Softplus, Softsign, Tanh, got "
    "HardSigmoid(alpha=0.2, beta=0.5): no other is the same function as one of ours.": (
        lambda rng: one(rng, activations=["HardSigmoid", "Tanh"])
    ),
    "activations of 'g' in source must be hard_sigmoid or sigmoid for the gates, got relu: z "
    "weighs the candidate here, and of no other function is 1 - f(a) the same as f(-a).": (
        lambda rng: one(rng, activations=["Relu", "Tanh"])
    ),
    "activations of 'g' in source must be hard_sigmoid or sigmoid for the gates, got softsign: z "
    "weighs the candidate here, and of no other function is 1 - f(a) the same as f(-a).": (
        lambda rng: one(
            rng,
            constants=draw_weights(rng, "bidirectional"),
            direction="bidirectional",
            activations=["Sigmoid", "Tanh", "Softsign", "Tanh"],
        )
    ),
    "activations of 'g' in source must be 2, got Sigmoid.": (
        lambda rng: one(rng, activations=["Sigmoid"])
    ),
    "direction of 'g' in source must be forward or reverse or bidirectional, got both.": (
        lambda rng: one(rng, direction="both")
    ),
    "linear_before_reset of 'g' in source must be 0 or 1, got 2.": (
        lambda rng: one(rng, linear_before_reset=2)
    ),
    "layout of 'g' in source must be 0 or 1, got 2.": lambda rng: one(rng, layout=2),
    "attributes of 'g' in source must be those of a GRU, got 'layout' FLOAT.": (
        lambda rng: one(rng, layout=1.0)
    ),
    "attributes of 'g' in source must be those of a GRU, got 'peephole' INT.": (
        lambda rng: one(rng, peephole=1)
    ),
    "W of 'g' in source must be (1, 12, 4), got (1, 15, 4).": lambda rng: one(rng, hidden_size=4),
    "W of 'g' in source must be (1, 3, 4), got (1, 15, 4).": lambda rng: one(rng, hidden_size=0),
    "W of 'g' in source must be (2, 15, 4), got (1, 15, 4).": (
        lambda rng: one(rng, direction="bidirectional")
    ),
    "W of 'g' in source must be (1, 15, 1), got (1, 15, 0).": (
        lambda rng: one(rng, constants={"W": W[..., :0]})
    ),
    "'g' in source: weights must have one dtype, got float16 and float32.": (
        lambda rng: one(rng, constants=draw_weights(rng, dtype=np.float16) | {"W": W})
    ),
    "W of 'g' in source must be of 16 to 64 bits, got int64.": (
        lambda rng: one(rng, constants={"W": W.astype(int)})
    ),
    "W of 'g' in source must be a constant, got the graph's input 'X'.": (
        lambda rng: one(rng, ("X", "X", "R"))
    ),
    "R of 'g' in source must be a constant, got no tensor 'Q'.": (
        lambda rng: one(rng, ("X", "W", "Q"))
    ),
    "R of 'g' in source must be a constant, got nothing by the name ''.": (
        lambda rng: one(rng, ("X", "W"))
    ),
    "W of 'g' in source must be a constant, got the output of a Relu.": (
        lambda rng: one(rng, ("X", "V", "R"), [node("Relu", ["W"], ["V"])])
    ),
    "W of 'g' in source must be a constant, got the output of a Identity.": (
        lambda rng: one(rng, ("X", "V", "R"), [node("Identity", ["W"], ["V"], domain="com.own")])
    ),
    f"{ONE_STATE}, (1, 5) for each, got (1, 2, 5) with rows that are not: {TAKEN_OFF} the state.": (
        lambda rng: with_initial(rng, h0=ROWS)
    ),
    f"{ONE_STATE}, (1, 5) for each, got (1, 2, 4) with rows that are not: {TAKEN_OFF} the state.": (
        lambda rng: with_initial(rng, h0=ROWS[..., 1:])
    ),
    f"initial_h of 'g' in source must be numbers, got NaN: {TAKEN_OFF} the state.": (
        lambda rng: with_initial(rng, h0=np.where(ROWS == 1, np.nan, ROWS))
    ),
    f"{ONE_STATE}, got (2, 5).": lambda rng: with_initial(rng, h0=ROWS[0]),
    f"{ONE_STATE}, got (1, 0, 5).": lambda rng: with_initial(rng, h0=ROWS[:, :0]),
    f"{ONE_STATE}, got the output of a Exp.": (
        lambda rng: with_initial(rng, [node("Exp", ["rows"], ["h0"])], rows=ROWS)
    ),
    f"{ONE_STATE}, got the output of a ConstantOfShape of 4.0e+18 bytes.": (
        lambda rng: with_initial(
            rng, [node("ConstantOfShape", ["sizes"], ["h0"])], sizes=np.array([10**9, 10**9, 1])
        )
    ),
    f"{LENGTHS}, got [2 2]: {TAKEN_OFF} lengths.": (
        lambda rng: with_lengths(rng, n=np.array([2, 2], np.int32))
    ),
    f"{LENGTHS}, got [3 3 3]: {TAKEN_OFF} lengths.": (
        lambda rng: with_lengths(rng, n=np.array([3, 3, 3], np.int32))
    ),
    f"{LENGTHS}, got [1 1]: {TAKEN_OFF} lengths.": (
        lambda rng: with_lengths(
            rng,
            [
                node("Shape", ["X"], ["batch"], start=1, end=2),
                node("Expand", ["1", "batch"], ["n"]),
            ],
            **{"1": np.array([1], np.int32)},
        )
    ),
    f"{LENGTHS}, got the output of a Sub: {TAKEN_OFF} lengths.": (
        lambda rng: with_lengths(
            rng, [node("Shape", ["X"], ["s"]), node("Sub", ["s", "1"], ["n"])], **{"1": np.array(1)}
        )
    ),
    f"{LENGTHS}, got no tensor 'n': {TAKEN_OFF} lengths.": lambda rng: with_lengths(rng),
    f"{STACK}: what 'two' reads is not the outputs of 'one' alone, but the output of a Relu.": (
        lambda rng: stack_of(
            rng,
            [node("Relu", ["first"], ["r"]), node("Squeeze", ["r", "axes"], ["xs"])],
            constants=AXES,
            direction="forward",
        )
    ),
    f"{STACK}: what 'two' reads is not the outputs of 'one' alone, but the output of a Slice.": (
        lambda rng: stack_of(
            rng,
            [SQUEEZE, node("Slice", ["xs", "0", "100"], ["cut"])],
            constants=AXES | {"0": np.array([0]), "100": np.array([100])},
            direction="forward",
            second="cut",
        )
    ),
    f"{STACK}: what 'two' reads is not the outputs of 'one' alone, but the graph's input 'X'.": (
        lambda rng: stack_of(rng, [], direction="forward", second="X")
    ),
    f"{STACK}: 'two' reads the outputs of 'one' rounded or in another arrangement.": (
        lambda rng: stack_of(
            rng,
            [
                node("Split", ["first"], ["a", "b"], axis=1),
                node("Concat", ["b", "a"], ["c"], axis=3),
                node("Squeeze", ["c", "axes"], ["xs"]),
            ],
            constants=AXES,
        )
    ),
    f"{STACK}: 'one' and 'two' are given different lengths.": (
        lambda rng: relink(stack_of(rng, [SQUEEZE], constants=AXES, direction="forward"), 4, "X")
    ),
    f"{STACK}: the initial state of 'two' comes from another GRU.": (
        lambda rng: relink(
            stack_of(rng, [SQUEEZE], constants=AXES, direction="forward"), 5, "first_h"
        )
    ),
    "source must be an onnx.ModelProto or a path, got a bytes.": lambda _: b"",
}


def relink(model, place, name):
    model.graph.node[-1].input[place] = name
    return model


@pytest.mark.parametrize("message", REFUSED)
def test_what_ours_cannot_be_is_one_sentence(rng, message):
    case = REFUSED[message](rng)
    source, name = case if isinstance(case, tuple) else (case, None)
    with refused(f"from_onnx: {message}"):
        interop.from_onnx(source, name=name)
