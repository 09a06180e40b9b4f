"""Random parameters and data for the Flax modules."""

import jax
import jax.numpy as jnp
import reference

import gru_jax as gj
from gru_jax.layers.recurrent import Directions

BATCH, TIME, INPUT, HIDDEN = 3, 6, 4, 5
KEY = jax.random.key(7)


def draw(rng, count, both, reset="before", dtype=jnp.float32):
    """Returns random parameters of a net without dropout."""

    def draw_layer(size):
        each = [gj.GRUParams(*reference.random_params(rng, size, HIDDEN, reset)) for _ in range(2)]
        return Directions(*each) if both else each[0]

    layers = [draw_layer((1 + both) * HIDDEN if i else INPUT) for i in range(count)]
    params = tuple(layers) if count > 1 else layers[0]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)


def draw_data(rng, count=1, both=False, dtype=jnp.float32):
    """Returns xs and a random h0."""
    states = [rng.normal(size=(BATCH, HIDDEN)) for _ in range(count * (1 + both))]
    if both:
        states = [Directions(*pair) for pair in zip(states[::2], states[1::2], strict=True)]
    h0 = tuple(states) if count > 1 else states[0]
    xs = rng.normal(size=(BATCH, TIME, INPUT))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (xs, h0))
