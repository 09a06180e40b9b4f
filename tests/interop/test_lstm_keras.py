"""Keras' LSTMs beside ours with the same weights, there and back."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from interop_cases import BATCH, HIDDEN, INPUT, TIME, draw_params, same_bits
from lstm_cases import CLOSE, LENGTHS, check_same, make_nets

from gru_jax import interop

# Keras' own: NumPy 2 asks for a `copy` that its variables do not know.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("x64", "rank_promotion"),
]


def with_exact_tanh(model):
    """Returns a Keras model whose tanh of float64 is not rounded to float32."""
    for layer in model.layers:
        halves = [layer]
        if isinstance(layer, keras.layers.Bidirectional):
            halves = [layer.forward_layer, layer.backward_layer]
        for half in halves:
            if hasattr(half, "cell"):
                half.cell.activation = jnp.tanh
    return model


@pytest.mark.parametrize("name", [name for name in make_nets() if name != "backward"])
def test_keras_computes_what_ours_does(rng, name):
    net = make_nets()[name]
    params = draw_params(rng, net, "float64")
    model = interop.to_keras(net, params)
    again, same = interop.from_keras(model)
    assert again.architecture == net.architecture
    same_bits(same, params)
    fixed = model.non_trainable_variables

    def theirs(weights, xs):
        return model.stateless_call(weights, fixed, xs)[0]

    def convert(grads):
        # The two biases of a GRU's r and z have one and the same gradient.
        arrays = [np.array(a) for a in interop.to_keras(net, grads).get_weights()]
        for array in arrays:
            if array.ndim == 2 and len(array) == 2:
                size = array.shape[1] // 3
                array[1, : 2 * size] = array[0, : 2 * size]
        return arrays

    weights = [variable.value for variable in model.trainable_variables]
    with_exact_tanh(model)
    check_same(rng, net, params, theirs, weights, convert)


@pytest.mark.parametrize("use_bias", [False, True])
def test_a_model_of_keras_with_masks_is_read_also_from_a_file(rng, tmp_path, use_bias):
    layers, options = keras.layers, {"dtype": "float64", "use_bias": use_bias}
    model = keras.Sequential(
        [
            keras.Input((TIME, INPUT), dtype="float64"),
            layers.Masking(9.0, dtype="float64"),
            layers.LSTM(HIDDEN, return_sequences=True, unit_forget_bias=False, **options),
            layers.Dropout(0.3, dtype="float64"),
            layers.RNN(layers.LSTMCell(3, **options), dtype="float64"),
        ]
    )
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.save(tmp_path / "a.keras")
    xs = rng.normal(size=(BATCH, TIME, INPUT))
    xs[np.arange(TIME) >= LENGTHS[:, None]] = 9
    net, params = interop.from_keras(model)
    again, same = interop.read(tmp_path / "a.keras")
    assert again.architecture == net.architecture
    same_bits(same, params)
    assert [part.builder for part in net.architecture.parts] == [
        "recurrent",
        "dropout",
        "recurrent",
    ]
    _, state = net.apply(params, xs, lengths=LENGTHS)
    np.testing.assert_allclose(state[-1].h, with_exact_tanh(model)(xs), **CLOSE)
