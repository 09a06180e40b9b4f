"""Little in an ONNX file that would become much; what is only moved is read, however much it is."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import HIDDEN, INPUT, draw_weights, gru, model_of
from refusals import refused

from gru_jax import interop
from gru_jax.interop.onnx import constants as constants_module

node = helper.make_node


def one(rng, nodes, constants):
    """Returns a model of one GRU whose W is `V`."""
    return model_of(
        [*nodes, gru(["X", "V", "R"], hidden_size=HIDDEN)], draw_weights(rng) | constants
    )


def of_shape(*shape, **options):
    return [node("ConstantOfShape", ["sizes"], ["V"], **options)], {"sizes": np.array(shape)}


ONES = np.ones(1000, np.float32)
MANY = np.zeros(300, np.int64)
SMALL = np.ones((1, 1), np.float32)

MUCH = {
    "a ConstantOfShape of 4.0e+04 bytes": of_shape(100, 100),
    "a ConstantOfShape of 8.0e+04 bytes": of_shape(
        100, 100, value=numpy_helper.from_array(np.ones(1))
    ),
    "a ConstantOfShape of 1.0e+04 bytes": (  # the third of three, each of which would be read
        [
            *(node("ConstantOfShape", ["sizes"], [f"V{k}"]) for k in range(3)),
            node("Concat", ["V0", "V1", "V2"], ["V"], axis=0),
        ],
        {"sizes": np.array([50, 50])},
    ),
    "a Expand of 4.0e+04 bytes": (
        [node("Expand", ["small", "sizes"], ["V"])],
        {"small": SMALL, "sizes": np.array([100, 100])},
    ),
    "a Expand of 4.1e+04 bytes": (
        [node("Expand", ["row", "sizes"], ["V"])],
        {"row": ONES[:103], "sizes": np.array([100, 1])},
    ),
    "a Expand of 4.0e+05 bytes": (  # of none, through many
        [node("Expand", ["none", "sizes"], ["V"])],
        {"none": SMALL[:0], "sizes": np.array([1, 100000])},
    ),
    "a Tile of 4.2e+04 bytes": (
        [node("Tile", ["row", "sizes"], ["V"])],
        {"row": ONES[:105], "sizes": np.array([100])},
    ),
    "a Gather of 1.2e+05 bytes": (
        [node("Gather", ["row", "many"], ["V"])],
        {"row": ONES[None, :100], "many": MANY},
    ),
    "a Gather of 2.4e+05 bytes": (
        [node("Gather", ["rows", "many"], ["V"], axis=-1)],
        {"rows": ONES[:200, None], "many": MANY},
    ),
    "a Concat of 2.4e+05 bytes": (  # all of one tensor
        [node("Concat", ["W"] * 1000, ["V"], axis=0)],
        {},
    ),
    "a Concat of 2.4e+06 bytes": (  # which one double number makes doubles
        [node("Concat", [*["bytes"] * 300, "double"], ["V"], axis=0)],
        {"bytes": np.ones(1000, np.int8), "double": np.ones(1)},
    ),
    "a Concat of 1.5e+04 bytes": (  # the sixth of forty, each of which doubles
        [
            *(
                node("Concat", [f"W{k}" if k else "W"] * 2, [f"W{k + 1}"], axis=0)
                for k in range(40)
            ),
            node("Identity", ["W40"], ["V"]),
        ],
        {},
    ),
    "a Cast of 8.0e+03 bytes": (  # the fourth of a dozen
        [
            *(node("Cast", ["bytes"], [f"V{k}"], to=TensorProto.DOUBLE) for k in range(12)),
            node("Concat", [f"V{k}" for k in range(12)], ["V"], axis=0),
        ],
        {"bytes": np.ones(1000, np.int8)},
    ),
    "a Concat of 9.6e+04 bytes": (  # of a constant, of which 16 times as much may be made
        [
            node("Constant", [], ["C"], value=numpy_helper.from_array(ONES)),
            node("Concat", ["C"] * 24, ["V"], axis=0),
        ],
        {},
    ),
    "a Cast to words": ([node("Cast", ["W"], ["V"], to=TensorProto.STRING)], {}),
    "a Constant with 'value_strings' STRINGS": (
        [node("Constant", [], ["V"], value_strings=["a" * 1000, "b"])],
        {},
    ),
    "a ConstantOfShape of words": of_shape(
        2, 2, value=helper.make_tensor("word", TensorProto.STRING, [1], [b"word"])
    ),
    "a Slice that cannot be run: 65 numbers where there are 64 axes at most": (
        [node("Slice", ["W", "zeros", "zeros"], ["V"])],
        {"zeros": MANY[:65]},
    ),
    "a ConstantOfShape that cannot be run: 65 numbers where there are 64 axes at most": of_shape(
        *[1] * 65
    ),
    "a Split that cannot be run: 100000 pieces for 1 outputs": (
        [node("Split", ["W"], ["V"], num_outputs=10**5)],
        {},
    ),
}


@pytest.mark.parametrize("said", MUCH)
def test_little_that_would_become_much_is_refused(rng, monkeypatch, said):
    monkeypatch.setattr(constants_module, "LIMIT", 15000)
    nodes, constants = MUCH[said]
    with refused(f"from_onnx: W of 'g' in source must be a constant, got the output of {said}."):
        interop.from_onnx(one(rng, nodes, constants))


def test_words_are_refused(rng):
    """NumPy would make each of them as long as the longest."""
    model = one(rng, [], {})
    model.graph.initializer.append(helper.make_tensor("V", TensorProto.STRING, [2], [b"a", b"b"]))
    with pytest.raises(ValueError, match="must be a constant, got a tensor 'V' of words"):
        interop.from_onnx(model)


@pytest.mark.parametrize("held", ["initializer", "constant"])
def test_weights_are_read_behind_all_that_only_moves_them(rng, monkeypatch, held):
    """However large: cut, put in another order, joined, widened, as PyTorch writes them."""
    monkeypatch.setattr(constants_module, "LIMIT", 0)
    rows = draw_weights(rng)["W"][0].astype(np.float16)
    tensor = numpy_helper.from_array(rows, "rows")
    nodes = [
        *([node("Constant", [], ["rows"], value=tensor)] if held == "constant" else []),
        node("Split", ["rows"], ["r", "z", "c"], axis=0),
        node("Concat", ["z", "r", "c"], ["zrc"], axis=0),
        node("Transpose", ["zrc"], ["columns"]),
        node("Identity", ["columns"], ["same"]),
        node("Transpose", ["same"], ["turned"]),
        node("Cast", ["turned"], ["wide"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["wide", "0"], ["V"]),
    ]
    constants = {"0": np.array([0])} | ({} if held == "constant" else {"rows": rows})
    _, params = interop.from_onnx(one(rng, nodes, constants))
    np.testing.assert_array_equal(params.W_r[:INPUT], rows[:HIDDEN].T.astype(np.float32))
    np.testing.assert_array_equal(params.W_c[:INPUT], rows[2 * HIDDEN :].T.astype(np.float32))
