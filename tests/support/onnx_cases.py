"""ONNX models of GRU nodes with random weights, what ONNX Runtime computes, and nets beside."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 3, 6, 4, 5
LENGTHS = np.array([TIME, 1, 4], np.int32)
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
W = np.ones((1, 3 * HIDDEN, INPUT), np.float32)
ROWS = np.arange(2.0 * HIDDEN, dtype=np.float32).reshape(1, 2, HIDDEN)
AXES = {"axes": np.array([1])}
node = helper.make_node


def run(model, **feeds):
    """Returns the outputs of ONNX Runtime."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def assert_close(got, want, **tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def draw_xs(rng, dtype=np.float32):
    return rng.normal(size=(BATCH, TIME, INPUT)).astype(dtype)


def draw_weights(rng, direction="forward", *, inputs=INPUT, dtype=np.float32, number=""):
    """Returns W, R and B; small enough for gates without a bound."""
    rows = {"W": (3 * HIDDEN, inputs), "R": (3 * HIDDEN, HIDDEN), "B": (6 * HIDDEN,)}
    return {
        name + number: rng.normal(0, 0.4, (DIRECTIONS[direction], *shape)).astype(dtype)
        for name, shape in rows.items()
    }


def gru(inputs, outputs=("Y", "Y_h"), name="g", **attributes):
    return helper.make_node("GRU", inputs, outputs, name, **attributes)


def model_of(nodes, constants, *, inputs=(), outputs=("Y", "Y_h"), opset=17, dtype=np.float32):
    """Returns a model of X, time-major, and of other inputs with their types and ranks."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ranks = {"Y": 4, "Y_h": 3, "ys": 3}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("X", kind, (None, None, INPUT))]
        + [helper.make_tensor_value_info(key, of, [None] * rank) for key, of, rank in inputs],
        [helper.make_tensor_value_info(key, kind, [None] * ranks[key]) for key in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def one(rng, inputs=("X", "W", "R", "B"), before=(), constants=None, **options):
    """Returns a model of one GRU, with nodes `before` it."""
    attributes = {"hidden_size": HIDDEN} | options
    weights = draw_weights(rng) | (constants or {})
    return model_of([*before, gru(inputs, **attributes)], weights)


def with_initial(rng, before=(), **constants):
    return one(rng, ("X", "W", "R", "B", "", "h0"), before, constants)


def stack_of(rng, between, *, constants=None, direction="bidirectional", second="xs", **options):
    """Returns a model of two GRUs with nodes of one's outputs `first` to `xs` between them."""
    inputs = DIRECTIONS[direction] * HIDDEN
    weights = draw_weights(rng, direction, number="0")
    weights |= draw_weights(rng, direction, inputs=inputs, number="1")
    names = [[name + number for name in "WRB"] for number in "01"]
    shared = {"direction": direction, "hidden_size": HIDDEN}
    nodes = [
        gru(["X", *names[0]], ["first", "first_h"], "one", **shared),
        *between,
        gru([second, *names[1], "", ""], name="two", **shared, **options),
    ]
    return model_of(nodes, weights | (constants or {}))


TRANSPOSE = helper.make_node("Transpose", ["first"], ["t"], perm=[0, 2, 1, 3])
RESHAPE = helper.make_node("Reshape", ["t", "sizes"], ["xs"])
SIZES = {"sizes": np.array([0, 0, -1])}
SQUEEZE = helper.make_node("Squeeze", ["first", "axes"], ["xs"])

NETS = {
    "cell": lambda **o: gj.gru(5, **o),
    "after": lambda **o: gj.recurrent(gj.gru(5, reset="after", **o)),
    "reverse": lambda **o: gj.recurrent(gj.gru(5, **o), reverse=True),
    "stack": lambda **o: gj.stack(
        gj.bidirectional(gj.gru(5, reset="after", **o)),
        gj.dropout(0.3),
        gj.recurrent(gj.gru(3, **o), reverse=True),
        gj.bidirectional(gj.gru(2, **o)),
    ),
    "learned": lambda **o: gj.stack(
        gj.bidirectional(gj.gru(5, **o), gj.learned_initial_state(gj.gru(5, **o))),
        gj.recurrent(gj.learned_initial_state(gj.gru(3, **o))),
    ),
}


def draw_net(rng, name, dtype=jnp.float32, **options):
    net = NETS[name](dtype=dtype, **options)
    params = net.init(jax.random.key(0), INPUT)
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.4, a.shape), a.dtype), params)
    return net, params, gj.recurrent(net) if isinstance(net, gj.Cell) else net
