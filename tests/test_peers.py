"""Other libraries as oracles, with random weights and biases: values and gradients.

Haiku computes the reset="before" form; Keras, Flax and ONNX Runtime the reset="after" form with
the update gate turned round, so their z rows are ours negated.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import draw_gru

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 4, 7, 3, 5


@pytest.fixture
def data(rng):
    xs = jnp.asarray(rng.normal(size=(BATCH, TIME, INPUT)), jnp.float32)
    h0 = jnp.asarray(rng.normal(size=(BATCH, HIDDEN)), jnp.float32)
    return xs, h0


def rows(W):
    return W[:INPUT], W[INPUT:]


def assert_same(peer, params, xs, h0, reset):
    """Compares hs, and the gradients of a random functional of hs, with the peer's."""
    cell = gj.gru(HIDDEN, reset=reset)
    weigh = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, TIME, HIDDEN)), jnp.float32)

    def ours(params, xs, h0):
        return gj.unroll(cell, params, xs, h0)[0]

    np.testing.assert_allclose(ours(params, xs, h0), peer(params, xs, h0), atol=2e-6)
    mine, theirs = (
        jax.jit(jax.grad(lambda *args, f=f: (weigh * f(*args)).sum(), argnums=(0, 1, 2)))(
            params, xs, h0
        )
        for f in (ours, peer)
    )
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, theirs)


def test_haiku(rng, data):
    import haiku as hk

    def peer(params, xs, h0):
        (x_r, h_r), (x_z, h_z), (x_c, h_c) = map(rows, (params.W_r, params.W_z, params.W_c))
        weights = {
            "w_i": jnp.concatenate([x_z, x_r, x_c], 1),
            "w_h": jnp.concatenate([h_z, h_r, h_c], 1),
            "b": jnp.concatenate([params.b_z, params.b_r, params.b_c]),
        }
        net = hk.without_apply_rng(
            hk.transform(lambda xs, h: hk.dynamic_unroll(hk.GRU(HIDDEN), xs, h)[0])
        )
        # Haiku adds its bias vector to matrices.
        with jax.numpy_rank_promotion("allow"):
            return net.apply({"gru": weights}, xs.swapaxes(0, 1), h0).swapaxes(0, 1)

    params, _, _ = draw_gru(rng, "before")
    assert_same(peer, params, *data, "before")


def test_keras(rng, data):
    import keras

    layer = keras.layers.GRU(HIDDEN, return_sequences=True)
    with jax.numpy_rank_promotion("allow"):
        layer.build((BATCH, TIME, INPUT))

    def peer(params, xs, h0):
        (x_r, h_r), (x_z, h_z), (x_c, h_c) = map(rows, (params.W_r, params.W_z, params.W_c))
        none = jnp.zeros(HIDDEN)
        variables = [
            jnp.concatenate([-x_z, x_r, x_c], 1),
            jnp.concatenate([-h_z, h_r, h_c], 1),
            jnp.stack(
                [
                    jnp.concatenate([-params.b_z, params.b_r, params.b_c]),
                    jnp.concatenate([none, none, params.b_h]),
                ]
            ),
        ]
        with jax.numpy_rank_promotion("allow"):
            return layer.stateless_call(
                variables, layer.non_trainable_variables, xs, initial_state=h0
            )[0]

    params, _, _ = draw_gru(rng, "after")
    assert_same(peer, params, *data, "after")


def test_flax_linen(rng, data):
    from flax import linen as nn

    def peer(params, xs, h0):
        (x_r, h_r), (x_z, h_z), (x_c, h_c) = map(rows, (params.W_r, params.W_z, params.W_c))
        weights = {
            "ir": {"kernel": x_r, "bias": params.b_r},
            "iz": {"kernel": -x_z, "bias": -params.b_z},
            "in": {"kernel": x_c, "bias": params.b_c},
            "hr": {"kernel": h_r},
            "hz": {"kernel": -h_z},
            "hn": {"kernel": h_c, "bias": params.b_h},
        }
        net = nn.RNN(nn.GRUCell(HIDDEN))
        return net.apply({"params": {"cell": weights}}, xs, initial_carry=h0)

    params, _, _ = draw_gru(rng, "after")
    assert_same(peer, params, *data, "after")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("reset", ["before", "after"])
def test_onnx_runtime(rng, data, reset, reverse):
    """ONNX computes both forms, in both directions, with lengths; values alone."""
    xs, h0 = data
    params, _, _ = draw_gru(rng, reset)
    lengths = np.array([TIME, 1, 4, 6], np.int32)
    hs, h_last = gj.unroll(
        gj.gru(HIDDEN, reset=reset), params, xs, h0, lengths=lengths, reverse=reverse
    )
    theirs, theirs_last = run_onnx(params, xs, h0, lengths, reset, reverse)
    np.testing.assert_allclose(hs, theirs, atol=2e-6)
    np.testing.assert_allclose(h_last, theirs_last, atol=2e-6)


def run_onnx(params, xs, h0, lengths, reset, reverse):
    import onnx
    import onnxruntime

    (x_r, h_r), (x_z, h_z), (x_c, h_c) = (
        rows(np.asarray(W)) for W in (params.W_r, params.W_z, params.W_c)
    )
    none = np.zeros(HIDDEN, np.float32)
    b_h = none if params.b_h is None else np.asarray(params.b_h)
    b_x = [-np.asarray(params.b_z), np.asarray(params.b_r), np.asarray(params.b_c)]
    inputs = {
        "X": np.asarray(xs).swapaxes(0, 1),
        "W": np.concatenate([-x_z.T, x_r.T, x_c.T])[None],
        "R": np.concatenate([-h_z.T, h_r.T, h_c.T])[None],
        "B": np.concatenate([*b_x, none, none, b_h])[None],
        "sequence_lens": lengths,
        "initial_h": np.asarray(h0)[None],
    }
    node = onnx.helper.make_node(
        "GRU",
        list(inputs),
        ["Y", "Y_h"],
        hidden_size=HIDDEN,
        linear_before_reset=int(reset == "after"),
        direction="reverse" if reverse else "forward",
    )
    infos = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in inputs.items()
    ]
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("Y", "Y_h")
    ]
    graph = onnx.helper.make_graph([node], "gru", infos, outputs)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ys, y_last = session.run(None, inputs)
    return ys[:, 0].swapaxes(0, 1), y_last[0]


def test_the_loops_of_these_tests_agree_with_onnx_runtime(rng, data):
    """The other tests lean on reference.py; this holds it against the outside."""
    xs, h0 = (np.asarray(a) for a in data)
    for reset in ("before", "after"):
        params, _, _ = draw_gru(rng, reset)
        lengths = np.array([2, TIME, 5, 1], np.int32)
        valid = np.arange(TIME) < lengths[:, None]
        for reverse in (False, True):
            hs, h_last = reference.unroll(params, xs, h0, valid, reverse=reverse)
            theirs, theirs_last = run_onnx(params, xs, h0, lengths, reset, reverse)
            np.testing.assert_allclose(hs, theirs, atol=2e-6)
            np.testing.assert_allclose(h_last, theirs_last, atol=2e-6)
