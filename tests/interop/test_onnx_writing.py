"""ONNX out: ONNX Runtime is the oracle, and ONNX's own evaluator for float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_gru import CommonGRU
from onnx_cases import INPUT, LENGTHS, NETS, assert_close, draw_net, draw_xs, run

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.limits import ONNX_ACTIVATIONS


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_computes_what_is_written(rng, name, time_major):
    """Alone, and with lengths and initial states."""
    net, params, layer = draw_net(rng, name)
    xs = draw_xs(rng)
    turn = (lambda a: a.swapaxes(0, 1)) if time_major else (lambda a: a)
    ys, *last = run(interop.to_onnx(net, params, time_major=time_major), xs=turn(xs))
    assert_close((turn(ys), last), jax.tree.leaves(layer.apply(params, xs)), atol=1e-6)

    model = interop.to_onnx(net, params, lengths=True, initial_state=True, time_major=time_major)
    _, last = layer.apply(params, xs)
    state = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype), last)
    h0s = {f"h0_{k}": h0 for k, h0 in enumerate(jax.tree.leaves(state))}
    ys, *last = run(model, xs=turn(xs), lengths=LENGTHS, **h0s)
    want = layer.apply(params, xs, state, lengths=LENGTHS)
    assert_close((turn(ys), last), jax.tree.leaves(want), atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NETS)
def test_onnx_computes_what_is_written_in_float64(rng, name):
    net, params, layer = draw_net(rng, name, jnp.float64)
    xs = draw_xs(rng, np.float64)
    ys, *last = ReferenceEvaluator(interop.to_onnx(net, params)).run(None, {"xs": xs})
    want = jax.tree.leaves(layer.apply(params, xs))
    assert_close((ys, last), want, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_hard_sigmoid_in_float64_has_onnxs_slope(rng, monkeypatch):
    """And nothing else differs. ONNX's evaluator has no gates but sigmoid; it is lent these."""
    net, params, layer = draw_net(rng, "after", jnp.float64, gate_activation="hard_sigmoid")
    xs = draw_xs(rng, np.float64)
    model = interop.to_onnx(net, params)
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    (written,) = (entry.floats[0] for entry in node.attribute if entry.name == "activation_alpha")
    want = jax.tree.leaves(layer.apply(params, xs))
    # The slope is off by 5e-9, so a gate by 1.5e-8 at most, for it is flat beyond 3; the state by
    # twice that a step, as it is less than 2 away from the candidate; and there are six steps.
    for slope, atol in ((1 / 6, 1e-14), (written, 2e-7)):
        monkeypatch.setattr(
            CommonGRU, "f", lambda _, a, slope=slope: np.clip(slope * a + 0.5, 0, 1)
        )
        got = ReferenceEvaluator(model).run(None, {"xs": xs})
        assert_close(got, want, atol=atol, rtol=0)
    assert abs(written * 6 - 1) < 3e-8


def test_float16_is_written_as_such(rng):
    net, params, layer = draw_net(rng, "after", jnp.float16)
    xs = draw_xs(rng, np.float16)
    ys, last = run(interop.to_onnx(net, params), xs=xs)
    assert ys.dtype == np.float16
    # Half a dozen steps, each rounded to 11 bits.
    assert_close((ys, last), layer.apply(params, xs), atol=4e-3)


@pytest.mark.parametrize("ours", ONNX_ACTIVATIONS)
def test_an_activation_is_written_with_its_numbers(rng, ours):
    options = {"activation": ours, "gate_activation": "hard_sigmoid"}
    net, params, layer = draw_net(rng, "after", **options)
    xs = draw_xs(rng)
    ys, last = run(interop.to_onnx(net, params), xs=xs)
    assert_close((ys, last), layer.apply(params, xs), atol=2e-6)


@pytest.mark.parametrize("name", [name for name in NETS if name != "cell"])
def test_there_and_back_is_the_same_net_bit_for_bit(rng, tmp_path, name):
    net, params, _ = draw_net(rng, name, activation="relu")
    model = interop.to_onnx(net, params, lengths=name == "stack")
    onnx.save(model, tmp_path / "net.onnx")
    found, found_params = interop.from_onnx(tmp_path / "net.onnx")
    without = [part for part in net.architecture.parts if part.builder != "dropout"]
    assert list(found.architecture.parts) == without
    kept = jax.tree.leaves(params)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(found_params), kept)
    assert interop.to_onnx(found, found_params, lengths=name == "stack") == model


def test_what_is_written_is_of_2022(rng):
    """Old runtimes refuse what is newer than they are."""
    net, params, _ = draw_net(rng, "cell")
    model = interop.to_onnx(net, params)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8


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
