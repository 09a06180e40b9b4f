"""Keras in and out, with Keras' own layers as oracles: values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras_cases import (
    BATCH,
    HIDDEN,
    INPUT,
    LENGTHS,
    MASK,
    MODELS,
    NETS,
    TIME,
    assert_same,
    assert_same_bits,
    built,
    draw,
    draw_net,
    functional,
    layers,
    run,
    sequential,
)

from gru_jax import interop
from gru_jax.layers.recurrent import Directions
from gru_jax.ops.activations import ACTIVATIONS

# Keras' own: NumPy 2 asks for a `copy` that its variables do not know.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("rank_promotion"),
]


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_a_layers_values_and_gradients_are_keras(rng, reset_after, use_bias):
    """From an initial state; of all weights, the inputs and the state."""
    options = {"reset_after": reset_after, "use_bias": use_bias, "return_sequences": True}
    layer = built(rng, layers.GRU(HIDDEN, **options))
    xs, h0 = draw(rng, BATCH, TIME, INPUT), draw(rng, BATCH, HIDDEN)
    weigh = draw(rng, BATCH, TIME, HIDDEN)
    fixed = layer.non_trainable_variables

    def theirs(weights, xs, h0):
        ys, _ = layer.stateless_call(weights, fixed, xs, initial_state=h0)
        return (weigh * ys).sum(), ys

    def ours(params, xs, h0):
        ys, _ = net.apply(params, xs, h0)
        return (weigh * ys).sum(), ys

    net, params = interop.from_keras(layer)
    weights = [variable.value for variable in layer.trainable_variables]
    differentiate = partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
    (_, want), (d_weights, *d_rest) = jax.jit(differentiate(theirs))(weights, xs, h0)
    (_, got), (d_params, *d_mine) = jax.jit(differentiate(ours))(params, xs, h0)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert_same(d_mine, d_rest, atol=1e-5)
    # Back through a layer that holds them; what it adds up is one and the same gradient twice.
    d_weights = [np.array(d) for d in d_weights]
    if use_bias and reset_after:
        d_weights[2][1, : 2 * HIDDEN] = 0
    layer.set_weights(d_weights)
    _, d_theirs = interop.from_keras(layer)
    if not use_bias:
        d_params, d_theirs = ([d.W_r, d.W_z, d.W_c] for d in (d_params, d_theirs))
    assert_same(d_params, d_theirs, atol=1e-5)
    assert all(np.abs(d).max() > 1e-2 for d in jax.tree.leaves(d_theirs))


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("merge_mode", ["concat", "sum"])
@pytest.mark.usefixtures("x64")
def test_both_directions_with_masks_are_keras_in_float64(rng, merge_mode, reset_after):
    """With softsign, for Keras' tanh of float64 is float32."""
    options = {"reset_after": reset_after, "activation": "softsign", "dtype": "float64"}
    ahead = layers.GRU(HIDDEN, return_sequences=True, return_state=True, **options)
    layer = built(rng, layers.Bidirectional(ahead, merge_mode, dtype="float64"))
    xs = draw(rng, BATCH, TIME, INPUT, dtype=np.float64)
    h0 = draw(rng, 2, BATCH, HIDDEN, dtype=np.float64)
    net, params = interop.from_keras(layer)
    ys, state = net.apply(params, xs, Directions(*h0), lengths=LENGTHS)
    theirs = jax.jit(lambda xs, h0: layer(xs, initial_state=list(h0), mask=MASK))
    want, *last = theirs(xs, h0)
    np.testing.assert_allclose(ys[MASK], want[MASK], rtol=1e-12, atol=1e-14)
    assert not ys[~MASK].any()
    assert_same(state, last, rtol=1e-12, atol=1e-14)


def test_a_cell_is_keras_cell(rng):
    cell = built(rng, layers.GRUCell(HIDDEN))
    x, h = draw(rng, BATCH, INPUT), draw(rng, BATCH, HIDDEN)
    ours, params = interop.from_keras(cell)
    np.testing.assert_allclose(ours.step(params, x, h), cell(x, [h])[0], atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_keras_by_the_same_name(rng, name):
    options = {"activation": name, "recurrent_activation": "hard_sigmoid"}
    layer = built(rng, layers.GRU(HIDDEN, return_sequences=True, **options))
    xs = draw(rng, BATCH, TIME, INPUT)
    net, params = interop.from_keras(layer)
    assert dict(net.architecture.parts[0].options)["activation"] == name
    np.testing.assert_allclose(net.apply(params, xs)[0], run(layer, xs), rtol=1e-5, atol=1e-6)


# Models.


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_return_sequences_gives_our_last_state(rng, name):
    """With masks, where there is a `Masking`."""
    model = MODELS[name](rng)
    xs = draw(rng, BATCH, TIME, INPUT)
    masked = name in ("functional", "sequential")
    if masked:
        xs[~MASK] = 9.0
    net, params = interop.from_keras(model)
    _, state = net.apply(params, xs, lengths=LENGTHS if masked else None)
    last = state[-1] if isinstance(state, tuple) else state
    want = run(model, xs)
    np.testing.assert_allclose(jnp.concatenate(jax.tree.leaves(last), -1), want, atol=1e-6)


def test_dropout_is_where_it_was_and_a_layer_is_found_by_its_name(rng):
    model = functional(rng)
    net, params = interop.from_keras(model)
    assert [part.builder for part in net.architecture.parts] == [
        "recurrent",
        "dropout",
        "recurrent",
        "bidirectional",
    ]
    assert dict(net.architecture.parts[1].options)["rate"] == 0.3
    _, alone = interop.from_keras(model, name="first")
    assert_same_bits(alone, params[0])


# From ours.
@pytest.mark.parametrize("name", [name for name in NETS if name != "cell"])
def test_keras_computes_what_is_written_and_gives_it_back(rng, name):
    net, params = draw_net(rng, name)
    model = interop.to_keras(net, params)
    xs = draw(rng, BATCH, TIME, INPUT)
    ys = run(model, xs)
    np.testing.assert_allclose(ys, net.apply(params, xs)[0], atol=2e-6)
    assert np.any(run(model, xs, training=True) != ys) == (name == "stack")
    found, found_params = interop.from_keras(model)
    assert found.architecture == net.architecture
    assert_same_bits(found_params, params)
    again = interop.to_keras(found, found_params)
    assert_same_bits(again.get_weights(), model.get_weights())


def test_a_cell_is_written_as_a_cell(rng):
    net, params = draw_net(rng, "cell")
    cell = interop.to_keras(net, params)
    x, h = draw(rng, BATCH, INPUT), draw(rng, BATCH, HIDDEN)
    np.testing.assert_allclose(cell(x, [h])[0], net.step(params, x, h), atol=1e-6)
    found, found_params = interop.from_keras(cell)
    assert found.architecture == net.architecture
    assert_same_bits(found_params, params)


@pytest.mark.slow("builds Keras models")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.usefixtures("x64")
def test_every_dtype_goes_there_and_back(rng, dtype):
    net, params = draw_net(rng, "before", dtype)
    model = interop.to_keras(net, params)
    xs = draw(rng, BATCH, TIME, INPUT).astype(dtype)
    got, want = (np.asarray(ys, float) for ys in (run(model, xs), net.apply(params, xs)[0]))
    # Of 8, 11 and 53 bits, rounded in each of the steps.
    tolerance = {"bfloat16": 2e-2, "float16": 4e-3, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(got, want, atol=tolerance)
    found, found_params = interop.from_keras(model)
    assert found.architecture == net.architecture
    assert_same_bits(found_params, params)


def test_a_name_that_is_not_there_is_told_with_those_that_are(rng):
    model = sequential(rng, layers.GRU(2, name="encoder"))
    with pytest.raises(ValueError, match=r"^from_keras: name must be 'encoder', got 'decoder'\.$"):
        interop.from_keras(model, name="decoder")


def test_the_only_gru_of_a_larger_model_is_found_also_in_a_model_inside(rng):
    inner = keras.Sequential([layers.GRU(2, name="encoder")], name="inner")
    model = sequential(rng, layers.Dense(3), inner, layers.Dense(1))
    encoder = interop.from_keras(inner.layers[0])
    for name in (None, "encoder", "inner/encoder", "inner"):
        net, params = interop.from_keras(model, name=name)
        assert net.architecture == encoder[0].architecture
        assert_same_bits(params, encoder[1])
