"""LSTMs that another framework or gru_jax does not have: one sentence each."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from interop_cases import INPUT
from onnx_cases import W, model_of, node
from refusals import refused

import gru_jax as gj
from gru_jax import interop

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("rank_promotion"),
]


def built(layer):
    layer.build((None, None, INPUT))
    return layer


def in_linen(cell):
    module = nn.RNN(cell)
    return module, module.init(jax.random.key(0), jnp.ones((1, 2, INPUT)))


def write(convert, net):
    return lambda: convert(net, net.init(jax.random.key(0), INPUT))


MIXED = gj.stack(gj.recurrent(gj.gru(4)), gj.recurrent(gj.lstm(4)))
REFUSED = {
    "from_keras: activation of 'l' must be tanh in an LSTM, got relu.": lambda: interop.from_keras(
        built(keras.layers.LSTM(2, activation="relu", name="l"))
    ),
    "from_keras: recurrent_activation of 'l' must be sigmoid in an LSTM, got hard_sigmoid.": (
        lambda: interop.from_keras(
            built(keras.layers.LSTM(2, recurrent_activation="hard_sigmoid", name="l"))
        )
    ),
    "from_linen: variables must be those of the LSTMCell, got hn, hr, hz, in, ir, iz.": (
        lambda: interop.from_linen(nn.RNN(nn.LSTMCell(4)), in_linen(nn.GRUCell(4))[1])
    ),
    "from_linen: variables must be only those of Flax's own cell, got also ii/bias.": (
        lambda: interop.from_linen(
            None, with_bias(in_linen(nn.LSTMCell(4))[1]["params"]["cell"], "ii")
        )
    ),
    "from_haiku: lstm/linear/w must be (7, 16), got (7, 12).": lambda: interop.from_haiku(
        {"lstm/linear": {"w": np.ones((7, 12), "f"), "b": np.ones(16, "f")}}
    ),
    "to_haiku: net must have one kind of cell in all layers, got ['GRU', 'LSTM']: the names of "
    "Haiku's modules do not say their order then; convert them one by one.": write(
        interop.to_haiku, MIXED
    ),
    "to_onnx: net must be of GRUs, got an LSTM: gru_jax does not write ONNX's LSTM; use Keras, "
    "PyTorch, Flax linen, Flax nnx, Haiku or Equinox.": write(interop.to_onnx, gj.lstm(4)),
    "from_onnx: source must have a GRU in its main graph, outside If, Loop and functions, got an "
    "LSTM, which gru_jax does not read from ONNX.": lambda: interop.from_onnx(
        model_of([node("LSTM", ["X", "W", "R"], ["Y", "Y_h"], hidden_size=5)], {"W": W, "R": W})
    ),
    "to_keras: net must begin at zeros, got a learned initial state: Keras' LSTM has none; convert "
    "the cell inside with params.cell, and begin it at params.h0.": write(
        interop.to_keras, gj.learned_initial_state(gj.lstm(4))
    ),
    "to_equinox: net must run in one direction, got two: Equinox's LSTMCell is one cell; convert "
    "params.forward and params.backward one by one, each with its cell.": write(
        interop.to_equinox, gj.bidirectional(gj.lstm(4))
    ),
    "to_linen: params must be LSTMParams, got a GRUParams.": lambda: interop.to_linen(
        gj.lstm(4), gj.gru(4).init(jax.random.key(0), INPUT)
    ),
    "to_linen: params.W_i must be (7, 4), got (7, 5).": lambda: interop.to_linen(
        gj.lstm(4), gj.lstm(5).init(jax.random.key(0), 2)
    ),
}


def with_bias(tree, name):
    return tree | {name: tree[name] | {"bias": jnp.ones(4)}}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_framework_cannot_say_is_one_sentence(message):
    with refused(message):
        REFUSED[message]()


@pytest.mark.parametrize("option", ["gate_fn", "activation_fn"])
def test_other_activations_of_flax_are_refused(option):
    needed = "sigmoid" if option == "gate_fn" else "tanh"
    relu = {option: nn.relu}
    message = f"{option} must be {needed} of jax.nn, got .*: gj.lstm has no other"
    with pytest.raises(ValueError, match=f"^from_linen: {message}"):
        interop.from_linen(*in_linen(nn.OptimizedLSTMCell(4, **relu)))
    with pytest.raises(ValueError, match=f"^from_nnx: {message}"):
        interop.from_nnx(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0), **relu))
