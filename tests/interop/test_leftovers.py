"""The arrays beside a GRU in a file stay behind, and are named."""

import jax
import keras
import numpy as np
import onnx
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization
from interop_cases import AFTER, LAYER, draw_params
from keras_cases import built, layers
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import HIDDEN, draw_weights, gru, model_of
from safetensors.numpy import save_file

import gru_jax as gj
from gru_jax import interop

HEAD = np.ones((4, 2), "f")


def torch_state(rng):
    first, second = (
        interop.to_torch_state(AFTER, draw_params(rng, AFTER, "float32")) for _ in range(2)
    )
    grus = {"enc": first, "dec": second}
    state = {f"{place}.{k}": np.asarray(v) for place, gru in grus.items() for k, v in gru.items()}
    return state | {"head.weight": HEAD, "head.bias": HEAD[0]}


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_state_dict_has_a_head_and_another_gru(rng, tmp_path, ending):
    path, state = tmp_path / f"a{ending}", torch_state(rng)
    np.savez(path, **state) if ending == ".npz" else save_file(state, path)
    dec = {key for key in state if key.startswith("dec.")}
    assert set(interop.leftovers(path, name="enc")) == dec | {"head.weight", "head.bias"}
    for key in dec:
        del state[key]
    np.savez(path, **state) if ending == ".npz" else save_file(state, path)
    assert set(interop.leftovers(path)) == {"head.weight", "head.bias"}


@pytest.mark.peers
def test_a_file_of_pytorch_has_a_head_and_an_optimizer(tmp_path):
    import torch

    model = torch.nn.ModuleDict({"gru": torch.nn.GRU(3, 4), "fc": torch.nn.Linear(4, 2)})
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}}
    torch.save({"model": model.state_dict(), "optim": moments, "epoch": 3}, tmp_path / "a.pt")
    assert interop.leftovers(tmp_path / "a.pt") == (
        "model.fc.weight",
        "model.fc.bias",
        "optim.state.0.exp_avg",
    )


def test_haikus_modules_are_named(rng, tmp_path):
    net = gj.recurrent(gj.gru(4))
    weights = interop.to_haiku(net, draw_params(rng, net, "float32"))["gru"]
    arrays = {f"model/gru/{k}": v for k, v in weights.items()}
    np.savez(tmp_path / "a.npz", **arrays, **{"model/linear/w": HEAD})
    assert interop.leftovers(tmp_path / "a.npz") == ("model/linear/w",)


@pytest.mark.usefixtures("rank_promotion")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_keras_model_has_a_head_and_an_optimizer(rng, tmp_path, ending):
    parts = [layers.Masking(), layers.GRU(3, return_sequences=True, name="enc"), layers.Dense(2)]
    model = built(rng, keras.Sequential([keras.Input((None, 4)), *parts]))
    path = tmp_path / f"a{ending}"
    model.save(path)
    head = {f"{model.layers[-1].name}/{leaf}" for leaf in ("kernel", "bias")}
    assert {"/".join(name.split("/")[-2:]) for name in interop.leftovers(path)} == head
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(path)
    optimizer = [name for name in interop.leftovers(path) if name.startswith("optimizer")]
    assert len(optimizer) == 2 + 2 * 5  # the step, the rate, and two moments of each array
    alone = built(
        rng, keras.Sequential([keras.Input((None, 4)), layers.GRU(3), layers.Dropout(0.1)])
    )
    alone.save(path)
    assert interop.leftovers(path) == ()


def test_a_msgpack_has_a_head_and_an_optimizer(rng, tmp_path):
    path = tmp_path / "a.msgpack"
    gru = interop.to_linen(LAYER, draw_params(rng, LAYER, "float32"))[1]["params"]
    params = {"enc": gru, "head": {"kernel": HEAD}}
    moments = {"0": {"mu": {"head": {"kernel": HEAD + 1}}}}
    tree = {"params": params, "opt_state": moments, "step": 3}
    path.write_bytes(serialization.msgpack_serialize(jax.tree.map(np.asarray, tree)))
    assert set(interop.leftovers(path)) == {
        "params/head/kernel",
        "opt_state/0/mu/head/kernel",
        "step",
    }
    path.write_bytes(serialization.to_bytes({"params": gru}))
    assert interop.leftovers(path) == ()


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
def test_an_orbax_folder_of_nnx_has_a_head(tmp_path):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.GRUCell(3, 4, rngs=rngs))
            self.dropout = nnx.Dropout(0.1, rngs=rngs)
            self.head = nnx.Linear(4, 2, rngs=rngs)

    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "x", nnx.state(Model(nnx.Rngs(0))))
    assert set(interop.leftovers(tmp_path / "x")) == {"head/kernel", "head/bias"}


def test_an_onnx_model_has_a_head_in_either_kind_of_constant(rng, tmp_path):
    """Axes, shapes and single numbers are no weights; nor is a computed initial state the net's."""
    path = tmp_path / "a.onnx"
    node = helper.make_node
    rows = rng.normal(size=(HIDDEN, 2)).astype("f")
    nodes = [
        node("MatMul", ["X0", "bridge"], ["h0"]),
        gru(["X", "W", "R", "B", "", "h0"], ["first", "Y_h"], "one", hidden_size=HIDDEN),
        gru(["X", "W1", "R1", "B1"], ["Y", ""], "two", hidden_size=HIDDEN),
        node("Constant", [], ["kernel"], value=numpy_helper.from_array(rows)),
        node("Squeeze", ["first", "axes"], ["xs"]),
        node("MatMul", ["xs", "kernel"], ["product"]),
        node("Add", ["product", "bias"], ["ys"]),
    ]
    constants = {"bias": rows[0], "axes": np.array([1]), "half": np.array(0.5, "f"), "bridge": rows}
    weights = draw_weights(rng) | draw_weights(rng, number="1")
    inputs = [("X0", TensorProto.FLOAT, 3)]
    onnx.save(model_of(nodes, weights | constants, inputs=inputs), path)
    assert set(interop.leftovers(path, name="one")) == {
        "bias",
        "bridge",
        "kernel",
        "W1",
        "R1",
        "B1",
    }
    net = gj.stack(gj.bidirectional(gj.learned_initial_state(gj.gru(2))), gj.recurrent(gj.gru(2)))
    interop.write(path, net, draw_params(rng, net, "float32"))
    assert interop.leftovers(path) == ()


def test_a_layer_of_a_stack_leaves_the_others(rng, tmp_path):
    net = gj.stack(gj.recurrent(gj.gru(4)), gj.dense(2))
    interop.save(tmp_path / "a.safetensors", net, draw_params(rng, net, "float32"))
    assert interop.leftovers(tmp_path / "a.safetensors") == ()
    assert set(interop.leftovers(tmp_path / "a.safetensors", name="0")) == {"1.W", "1.b"}


def test_a_cell_of_equinox_is_alone(rng, tmp_path):
    interop.write(tmp_path / "a.eqx", AFTER, draw_params(rng, AFTER, "float32"))
    assert interop.leftovers(tmp_path / "a.eqx") == ()


def test_what_cannot_be_read_has_no_leftovers(tmp_path):
    np.savez(tmp_path / "a.npz", **{"head.weight": HEAD})
    with pytest.raises(
        ValueError, match=r"a\.npz must hold a GRU or an LSTM by PyTorch's or Haiku's names"
    ):
        interop.leftovers(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="read: no file"):
        interop.leftovers(tmp_path / "b.npz")
