"""ONNX files that are damaged or too large, and data beside them."""

import os
import re

import jax
import numpy as np
import onnx
import pytest
from interop_cases import check_damaged
from onnx import TensorProto, external_data_helper, numpy_helper
from onnx_cases import HIDDEN, INPUT, W, draw_net, node, one

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.onnx import exporting
from gru_jax.interop.stack import disassemble


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


def test_external_data_beside_a_file_is_read(rng, tmp_path):
    net, params, _ = draw_net(rng, "after")
    model = interop.to_onnx(net, params)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0)
    assert (tmp_path / "net.onnx").stat().st_size < 2000
    jax.tree.map(np.testing.assert_array_equal, interop.from_onnx(tmp_path / "net.onnx")[1], params)
