"""What Keras' layers say and ours cannot, and the other way round: one sentence each."""

import re

import jax
import jax.numpy as jnp
import keras
import pytest
from keras_cases import INPUT, TIME, built, layers, sequential
from refusals import refused

import gru_jax as gj
from gru_jax import interop
from gru_jax.ops.activations import ACTIVATIONS

# Keras' own: NumPy 2 asks for a `copy` that its variables do not know.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("rank_promotion"),
]


def shared(rng):
    xs, layer = keras.Input((None, INPUT)), layers.GRU(INPUT, return_sequences=True, name="g")
    return built(rng, keras.Model(xs, layer(layer(xs))))


def side_by_side(rng):
    xs = keras.Input((None, INPUT))
    ys = [layers.GRU(2, name=name)(xs) for name in ("one", "two")]
    return built(rng, keras.Model(xs, ys))


def fed(rng):
    xs, h0 = keras.Input((None, INPUT)), keras.Input((2,))
    return built(rng, keras.Model([xs, h0], layers.GRU(2, name="g")(xs, initial_state=h0)))


def half_masked(rng):
    xs, mask = keras.Input((None, INPUT)), keras.Input((None,), dtype="bool")
    ys = layers.GRU(2, return_sequences=True, name="one")(xs)
    return built(rng, keras.Model([xs, mask], layers.GRU(2, name="two")(ys, mask=mask)))


def in_call(layer, **fixed):
    """Returns a model that fixes an argument of the call of its layer."""
    xs = keras.Input((TIME, 2))
    return keras.Model(xs, layer(layers.GRU(2, return_sequences=True)(xs), **fixed))


class Own(keras.Model):
    pass


class Doubled(keras.Sequential):
    def call(self, xs, **options):
        return 2 * super().call(xs, **options)


class Always(layers.Dropout):
    pass


class Shifted(layers.Masking):
    pass


CHAIN = "layers must each read the outputs of the one before and one mask, and be run once, got"
FUNCTIONS = ", ".join(ACTIVATIONS)
KINDS = "source must be of GRU, LSTM, RNN, Bidirectional and Dropout layers, got"
CALLED = "must be called without fixed arguments, got"
GIVE = "take the layers by name, and give h0, mask or key to apply."

REFUSED = {
    "name must be 'one' or 'two', got None.": lambda rng: sequential(
        rng,
        *(layers.GRU(2, return_sequences=True, name=name) for name in ("one", "two")),
        layers.Dense(1),
    ),
    "there must be a GRU or an LSTM, got d.": lambda rng: sequential(
        rng, layers.Dense(1, name="d")
    ),
    "cell of 'l' must be a GRUCell or an LSTMCell, got a SimpleRNNCell.": (
        lambda rng: built(rng, layers.RNN(layers.SimpleRNNCell(2), name="l"))
    ),
    "cell of 'b' must be a GRUCell or an LSTMCell, got a StackedRNNCells.": (
        lambda rng: built(
            rng,
            layers.Bidirectional(layers.RNN(layers.StackedRNNCells([layers.GRUCell(2)])), name="b"),
        )
    ),
    "'g' must be built, got it without weights: call it once, or layer.build((None, None, "
    "input_size)).": lambda _: layers.GRU(2, name="g"),
    "'g' must not go backwards and return sequences, which come out in reversed order then: take "
    "its cell, and run it by recurrent(cell, reverse=True), whose outputs stand in the order of "
    "the inputs.": lambda rng: built(
        rng, layers.GRU(2, go_backwards=True, return_sequences=True, name="g")
    ),
    "merge_mode of 'b' must be \"concat\" or \"sum\", got 'ave': take its forward_layer and its "
    "backward_layer.cell.": lambda rng: built(
        rng, layers.Bidirectional(layers.GRU(2), "ave", name="b")
    ),
    "forward_layer of 'b' must not go backwards, got one that does: its outputs stand in reversed "
    "order then.": lambda rng: built(
        rng,
        layers.Bidirectional(
            layers.GRU(2, go_backwards=True), backward_layer=layers.GRU(2), name="b"
        ),
    ),
    "recurrent_activation of 'g' must be hard_sigmoid or sigmoid for the gates, got relu: z weighs "
    "the candidate here, and of no other function is 1 - f(a) the same as f(-a).": (
        lambda rng: built(rng, layers.GRU(2, recurrent_activation="relu", name="g"))
    ),
    f"activation of 'g' must be one of {FUNCTIONS}, got gelu.": (
        lambda rng: built(rng, layers.GRU(2, activation="gelu", name="g"))
    ),
    f"activation of 'g' must be one of {FUNCTIONS}, got a function tanh that is not Keras' own "
    "and not recognised: give its name.": (
        lambda rng: built(rng, layers.GRU(2, activation=jnp.tanh, name="g"))
    ),
    f"{KINDS} 'd', a Always: take the layer alone, by name.": lambda rng: sequential(
        rng, layers.GRU(2), Always(0.1, name="d")
    ),
    f"{KINDS} 'm', a Shifted: take the layer alone, by name.": lambda rng: sequential(
        rng, Shifted(name="m"), layers.GRU(2)
    ),
    "dropout must be drawn anew in each step, got 'd', a SpatialDropout1D: take the layers by "
    "name, and put dropout(rate, per_sequence=True) between them.": lambda rng: sequential(
        rng, layers.GRU(2, return_sequences=True), layers.SpatialDropout1D(0.1, name="d")
    ),
    f"'d' {CALLED} training=True: {GIVE}": lambda _: in_call(
        layers.Dropout(0.9, name="d"), training=True
    ),
    f"'g' {CALLED} a constant initial_state: {GIVE}": lambda _: in_call(
        layers.GRU(2, name="g"), initial_state=jnp.ones((1, 2))
    ),
    f"'b' {CALLED} a constant initial_state: {GIVE}": lambda _: in_call(
        layers.Bidirectional(layers.GRU(2), name="b"), initial_state=[jnp.ones((1, 2))] * 2
    ),
    f"'g' {CALLED} a constant mask: {GIVE}": lambda _: in_call(
        layers.GRU(2, name="g"), mask=jnp.ones((1, TIME), bool)
    ),
    "source must be a Sequential or functional model, got 's', a Doubled of its own: take its "
    "layers one by one.": lambda _: Doubled([keras.Input((None, 2)), layers.GRU(2)], name="s"),
    "each dropout must directly follow a GRU or an LSTM, without a noise_shape, got 'd': convert "
    "the layers by name, and put gj.dropout in its place.": lambda rng: sequential(
        rng, layers.Dropout(0.1, name="d"), layers.GRU(2)
    ),
    "source must have a GRU or an LSTM, got none.": lambda rng: sequential(rng, layers.Masking()),
    f"{CHAIN} an output that no layer has when it is run once: take them one by one, by name.": (
        shared
    ),
    f"{CHAIN} 'two', which reads something else: take them one by one, by name.": side_by_side,
    f"{CHAIN} 'g', which reads something else: take them one by one, by name.": fed,
    "source must be a Sequential or functional model, got 'o', a Own of its own: take its layers "
    "one by one.": lambda _: Own(name="o"),
    "source must be of GRU, LSTM, RNN, Bidirectional and Dropout layers, got 'm', a str: take the "
    "layer alone, by name.": lambda _: "m",
    f"{CHAIN} 'two', which is given another mask: take them one by one, by name.": half_masked,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_ours_cannot_be_is_one_sentence(rng, message):
    with refused(f"from_keras: {message}"):
        interop.from_keras(REFUSED[message](rng))


WRITTEN = {
    "one hidden size in both directions, got 2 and 3": (
        lambda: gj.bidirectional(gj.gru(2), gj.gru(3))
    ),
    "got reverse=True: Keras' GRU cannot run backward": (
        lambda: gj.recurrent(gj.gru(2), reverse=True)
    ),
    "gate_activation must be 'hard_sigmoid' or 'sigmoid', got 'tanh': z of Keras' GRU weighs": (
        lambda: gj.gru(2, gate_activation="tanh")
    ),
    "clip must be None, got 1": lambda: gj.gru(2, clip=1.0),
    "must begin at zeros, got a learned initial state": (
        lambda: gj.learned_initial_state(gj.gru(2))
    ),
}


@pytest.mark.parametrize("message", WRITTEN)
def test_what_keras_cannot_be_is_one_sentence(message):
    net = WRITTEN[message]()
    with pytest.raises(ValueError, match=re.escape(message)):
        interop.to_keras(net, net.init(jax.random.key(0), INPUT))
