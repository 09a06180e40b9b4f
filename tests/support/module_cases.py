"""Both Flax modules, with random parameters and data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import nnx

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx
from gru_jax.layers.recurrent import Directions

BATCH, TIME, INPUT, HIDDEN = 3, 6, 4, 5
KEY = jax.random.key(7)
XS = jax.random.normal(KEY, (BATCH, TIME, INPUT))
LENGTHS = np.array([TIME, 4, 0])
GLOROT, ORTHOGONAL = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.orthogonal()


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


def make_linen(params, net=None, **options):
    gru = gru_jax.linen.GRU(HIDDEN, **options)

    def apply(*args, key=None, **options):
        return gru.apply(variables, *args, rngs={} if key is None else {"dropout": key}, **options)

    variables = gru.variables_from(net or gru.net(), params)
    return gru, apply


def make_nnx(params, net=None, **options):
    gru = gru_jax.nnx.GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0), **options)
    gru.set_params(net or gru.net(), params)

    def apply(*args, key=None, method="__call__", **options):
        return getattr(gru, method)(*args, **options | ({} if key is None else {"rngs": key}))

    return gru, apply


@pytest.fixture(params=[make_linen, make_nnx], ids=["linen", "nnx"])
def make(request):
    """`(params, net of these, **options) -> (module, apply)`."""
    return request.param


def make_deep(**options):
    """Returns a module of NNX, of two layers and both directions with dropout between them."""
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3} | options
    return gru_jax.nnx.GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0, dropout=1), **options)
