"""Keras' layers and models with random weights, and nets beside them."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 3, 6, 4, 5
LENGTHS = np.array([TIME, 2, 4])
MASK = np.arange(TIME) < LENGTHS[:, None]
layers = keras.layers


def draw(rng, *shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def built(rng, layer, inputs=INPUT):
    """Returns a layer with random weights, and biases that are not 0."""
    if not layer.built:
        layer.build((None, inputs) if isinstance(layer, layers.GRUCell) else (None, None, inputs))
    layer.set_weights([rng.normal(0, 0.5, w.shape).astype(w.dtype) for w in layer.get_weights()])
    return layer


def run(layer, xs, *, training=False):
    """Returns the outputs of a layer or model, compiled as one program."""
    variables = layer.trainable_variables, layer.non_trainable_variables
    return np.asarray(
        jax.jit(lambda xs: layer.stateless_call(*variables, xs, training=training)[0])(xs)
    )


def assert_same(got, want, **tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def assert_same_bits(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def sequential(rng, *parts):
    return built(rng, keras.Sequential([keras.Input((None, INPUT)), *parts]))


def functional(rng):
    xs = keras.Input((None, INPUT))
    ys = layers.GRU(HIDDEN, return_sequences=True, name="first")(layers.Masking(9.0)(xs))
    ys, _ = layers.GRU(3, return_sequences=True, return_state=True)(layers.Dropout(0.3)(ys))
    return built(rng, keras.Model(xs, layers.Bidirectional(layers.GRU(2))(ys)))


MODELS = {
    "functional": functional,
    "sequential": lambda rng: sequential(
        rng,
        layers.Masking(9.0),
        layers.GRU(HIDDEN, return_sequences=True, reset_after=False),
        layers.Bidirectional(layers.GRU(3, return_sequences=True)),
        layers.Dropout(0.5),
        layers.GRU(2),
    ),
    "cells": lambda rng: sequential(
        rng, layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.GRUCell(HIDDEN)]))
    ),
    "backwards": lambda rng: sequential(rng, layers.GRU(HIDDEN, go_backwards=True)),
    "stateful": lambda rng: sequential(rng, layers.GRU(HIDDEN, unroll=True, dropout=0.5)),
}


NETS = {
    "cell": lambda **o: gj.gru(HIDDEN, **o),
    "before": lambda **o: gj.recurrent(gj.gru(HIDDEN, activation="softsign", **o)),
    "after": lambda **o: gj.recurrent(gj.gru(HIDDEN, reset="after", activation="selu", **o)),
    "stack": lambda **o: gj.stack(
        gj.bidirectional(gj.gru(HIDDEN, reset="after", **o), gj.gru(HIDDEN, **o), merge="sum"),
        gj.dropout(0.4),
        gj.bidirectional(gj.gru(3, gate_activation="hard_sigmoid", **o)),
        gj.recurrent(gj.gru(2, **o)),
        gj.dropout(0.1),
    ),
}


def draw_net(rng, name, dtype=jnp.float32):
    net = NETS[name](dtype=dtype)
    params = net.init(jax.random.key(0), INPUT)
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape), a.dtype), params)
    return net, params
