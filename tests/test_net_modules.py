"""`Net`: any layer as a Flax module, in linen and in nnx."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from refusals import refused

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

LAYER = gj.stack(gj.recurrent(gj.conv_gru(3, coordinates=True)), gj.conv(1), gj.pool_space())
NOISY = gj.stack(gj.dropout(0.5), gj.recurrent(gj.min_gru(4)))
TOKENS = gj.stack(gj.embed(7, 3), gj.recurrent(gj.mgu(4)))


@pytest.fixture
def xs(rng):
    return jnp.asarray(rng.normal(size=(2, 4, 5, 6, 2)), jnp.float32)


def test_linen_runs_the_layer_with_its_boundaries(xs):
    module = gru_jax.linen.Net(LAYER)
    variables = module.init(jax.random.key(0), xs)
    expected = LAYER.apply(variables["params"]["net"], xs, lengths=np.array([2, 4]))
    actual = module.apply(variables, xs, lengths=np.array([2, 4]))
    chex.assert_trees_all_equal(actual, expected)
    again, _ = module.apply(variables, xs, actual[1])
    np.testing.assert_array_equal(
        again, LAYER.apply(variables["params"]["net"], xs, expected[1])[0]
    )


def test_linen_draws_noise_from_its_stream_in_training_alone(rng):
    xs = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    module = gru_jax.linen.Net(NOISY)
    variables = module.init(jax.random.key(0), xs, deterministic=True)
    still, _ = module.apply(variables, xs, deterministic=True)
    np.testing.assert_array_equal(still, NOISY.apply(variables["params"]["net"], xs)[0])
    noisy = [
        module.apply(variables, xs, deterministic=False, rngs={"dropout": jax.random.key(i)})[0]
        for i in (1, 1, 2)
    ]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert (noisy[0] != noisy[2]).any()
    assert (noisy[0] != still).any()


def test_nnx_runs_the_layer_and_trains(xs):
    module = gru_jax.nnx.Net(LAYER, 2, rngs=nnx.Rngs(0))
    resets = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], bool)
    expected = LAYER.apply(module.raw_params(), xs, resets=resets)
    chex.assert_trees_all_equal(module(xs, resets=resets), expected)
    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    before = module.raw_params()

    @nnx.jit
    def train(module, optimizer, xs):
        gradient = nnx.grad(lambda net: (net(xs)[0] ** 2).sum())(module)
        optimizer.update(module, gradient)

    train(module, optimizer, xs)
    gradient = jax.grad(lambda p: (LAYER.apply(p, xs)[0] ** 2).sum())(before)
    wanted = jax.tree.map(lambda p, g: p - 0.1 * g, before, gradient)
    chex.assert_trees_all_close(module.raw_params(), wanted, atol=1e-6)


def test_nnx_draws_noise_in_training_alone(rng):
    xs = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    module = gru_jax.nnx.Net(NOISY, 3, rngs=nnx.Rngs(0))
    assert (module(xs)[0] != module(xs)[0]).any()
    still, _ = module(xs, deterministic=True)
    module.eval()
    np.testing.assert_array_equal(module(xs)[0], still)
    np.testing.assert_array_equal(still, NOISY.apply(module.raw_params(), xs)[0])


@pytest.mark.untyped
def test_a_cell_in_the_place_of_a_layer_is_refused():
    message = "Net: layer must be a Layer, e.g. recurrent(cell), got a Cell."
    with refused(message):
        gru_jax.linen.Net(gj.gru(4)).init(jax.random.key(0), jnp.zeros((2, 4, 3)))
    with refused(message):
        gru_jax.nnx.Net(gj.gru(4), 3, rngs=nnx.Rngs(0))


def test_tokens_say_their_input_size():
    tokens = jnp.array([[0, 3, 6], [1, 1, 2]])
    linen = gru_jax.linen.Net(TOKENS, input_size=7)
    variables = linen.init(jax.random.key(0), tokens)
    assert linen.apply(variables, tokens)[0].shape == (2, 3, 4)
    assert gru_jax.nnx.Net(TOKENS, 7, rngs=nnx.Rngs(0))(tokens)[0].shape == (2, 3, 4)
