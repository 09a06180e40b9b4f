"""What ONNX files say and ours cannot, and files that lie: one sentence each."""

import os
import re

import jax
import numpy as np
import onnx
import pytest
from interop_cases import check_damaged
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx_cases import (
    HIDDEN,
    INPUT,
    RESHAPE,
    SIZES,
    SQUEEZE,
    TRANSPOSE,
    draw_net,
    draw_weights,
    gru,
    model_of,
    stack_of,
)

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.onnx import exporting
from gru_jax.interop.stack import disassemble

node = helper.make_node


def one(rng, inputs=("X", "W", "R", "B"), before=(), constants=None, **options):
    attributes = {"hidden_size": HIDDEN} | options
    weights = draw_weights(rng) | (constants or {})
    return model_of([*before, gru(inputs, **attributes)], weights)


def with_initial(rng, before=(), **constants):
    return one(rng, ("X", "W", "R", "B", "", "h0"), before, constants)


def with_lengths(rng, before=(), **constants):
    return one(rng, ("X", "W", "R", "B", "n"), before, constants)


W = np.ones((1, 3 * HIDDEN, INPUT), np.float32)
ROWS = np.arange(2.0 * HIDDEN, dtype=np.float32).reshape(1, 2, HIDDEN)
AXES = {"axes": np.array([1])}
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
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        interop.from_onnx(source, name=name)
    assert str(error.value) == f"from_onnx: {message}"


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


WRITTEN = {
    'merge must be "concat", got "sum"': lambda: gj.bidirectional(gj.gru(5), merge="sum"),
    "activation must be 'elu' or 'hard_sigmoid' or": lambda: gj.gru(5, activation="silu"),
    "gate_activation must be 'hard_sigmoid' or 'sigmoid', got 'relu': z of ONNX's GRU": (
        lambda: gj.gru(5, gate_activation="relu")
    ),
    "clip must be None, got 2": lambda: gj.gru(5, clip=2.0),
    "params must be float16, float32 or float64, got bfloat16": lambda: gj.gru(5, dtype="bfloat16"),
    'one reset in both directions, got 5 with "before" and 5 with "after"': (
        lambda: gj.bidirectional(gj.gru(5), gj.gru(5, reset="after"))
    ),
    'one reset in both directions, got 5 with "before" and 4 with "before"': (
        lambda: gj.bidirectional(gj.gru(5), gj.gru(4))
    ),
}


@pytest.mark.parametrize("message", WRITTEN)
def test_what_onnx_cannot_be_is_one_sentence(message):
    net = WRITTEN[message]()
    with pytest.raises(ValueError, match=re.escape(message)):
        interop.to_onnx(net, net.init(jax.random.key(0), INPUT))


# Damaged files.


@pytest.fixture
def path(rng, tmp_path):
    """A small file of all there is: two nodes, both directions, a learned initial state."""
    net = gj.stack(
        gj.bidirectional(gj.learned_initial_state(gj.gru(1, reset="after"))),
        gj.recurrent(gj.gru(1, activation="elu")),
    )
    params = net.init(jax.random.key(0), 2)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype), params)
    path = tmp_path / "net.onnx"
    onnx.save(interop.to_onnx(net, params, lengths=True), path)
    return path


@pytest.mark.slow("reads 1,800 files")
def test_a_damaged_file_is_read_or_refused(rng, path):
    """Cut anywhere it is refused."""
    results, refusals = check_damaged(rng, path, cuts=1000, flips=800)
    for net, params in results:
        disassemble("from_onnx", net, params)  # which looks at every shape
    assert len(results) > 40
    assert refusals > 40


def test_bytes_of_another_kind_are_refused(path):
    for content in (b"", b"PK\x03\x04" + bytes(100), bytes(range(256)), b"{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            interop.from_onnx(path)


def test_what_is_no_file_or_larger_than_protobuf_is_refused_unread(path):
    for missing in (path.parent, path.parent / "gone.onnx"):
        said = f"from_onnx: source must be a file, got {missing}, where there is none."
        with pytest.raises(FileNotFoundError, match=re.escape(said)):
            interop.from_onnx(missing)
    os.truncate(path, 2**31)  # the rest is holes
    said = (
        f"source must be 2147483647 bytes or fewer, which protobuf holds, got {path} of 2147483648:"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        interop.from_onnx(path)


def test_parameters_larger_than_protobuf_are_not_written(tmp_path, monkeypatch):
    """They can be with ONNX's own `save`, beside the model."""
    net = gj.recurrent(gj.gru(HIDDEN))
    params = net.init(jax.random.key(0), INPUT)
    size = sum(leaf.nbytes for leaf in params if leaf is not None)
    monkeypatch.setattr(exporting, "LARGEST", size + 2**24 - 1)
    said = (
        f"write: params must be {size - 1} bytes or fewer, got {size}: protobuf holds no more; onnx"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        interop.write(tmp_path / "net.onnx", net, params)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(exporting, "LARGEST", size + 2**24)
    interop.write(tmp_path / "net.onnx", net, params)


@pytest.mark.parametrize("where", ["../secret", "/etc/passwd", "gone"])
def test_external_data_elsewhere_is_refused(rng, tmp_path, where):
    (tmp_path / "secret").write_bytes(bytes(1000))
    folder = tmp_path / "model"
    folder.mkdir()
    model = one(rng)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="must be a constant, got a tensor 'W' that cannot"):
        interop.from_onnx(path)
    with pytest.raises(ValueError, match="must be a constant, got numbers in another file"):
        interop.from_onnx(model)


@pytest.mark.parametrize(
    ("attribute", "said"),
    [("value", "numbers in another file"), ("more", "a Constant with 'more' TENSORS")],
)
def test_external_data_of_a_node_is_refused(rng, tmp_path, monkeypatch, attribute, said):
    """ONNX's evaluator would look for it in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(W.tobytes())
    secret = numpy_helper.from_array(W, "secret")
    external_data_helper.set_external_data(secret, "secret")
    secret.ClearField("raw_data")
    options = (
        {"value": secret}
        if attribute == "value"
        else {"value": numpy_helper.from_array(W), "more": [secret]}
    )
    model = one(rng, ("X", "V", "R"), [node("Constant", [], ["V"], **options)])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=said):
        interop.from_onnx(tmp_path / "net.onnx")


def test_external_data_that_is_too_short_is_refused(rng, tmp_path):
    net, params, _ = draw_net(rng, "after")
    path = tmp_path / "net.onnx"
    model = interop.to_onnx(net, params)
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="data")
    (tmp_path / "data").write_bytes((tmp_path / "data").read_bytes()[:-100])
    with pytest.raises(ValueError, match="that cannot be read"):
        interop.from_onnx(path)


def test_a_tensor_that_says_it_is_large_is_refused(rng):
    model = one(rng)
    model.graph.initializer[0].dims[2] = 10**12
    with pytest.raises(ValueError, match="a tensor 'W' that cannot be read"):
        interop.from_onnx(model)


def test_a_graph_that_turns_in_circles_is_refused(rng):
    nodes = [node("Identity", ["V"], ["U"]), node("Identity", ["U"], ["V"])]
    with pytest.raises(ValueError, match="W of 'g' in source must be a constant"):
        interop.from_onnx(one(rng, ("X", "V", "R"), nodes))
