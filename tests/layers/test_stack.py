"""Stacks: how their layers begin, what comes behind a pool, and deep ones compared."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_cells import image_cell
from refusals import refused

import gru_jax as gj


def test_the_layers_of_a_stack_begin_differently():
    twice = gj.stack(gj.recurrent(gj.gru(3)), gj.recurrent(gj.gru(3)))
    first, second = twice.init(jax.random.key(0), 3)
    assert not np.allclose(first.W_r, second.W_r)


@pytest.mark.parametrize("kind", ["max", "mean", "last"])
def test_behind_pool_each_sequence_is_disturbed_by_itself(kind):
    net = gj.stack(gj.pool(kind), gj.dropout(0.5, per_sequence=True), gj.gaussian_noise(0.1))
    params, xs = net.init(jax.random.key(0), 8), jnp.ones((4, 3, 8))

    def run(xs, key):
        return net.apply(params, xs, key=key)[0]

    ys = jax.jit(run)(xs, jax.random.key(1))
    assert ys.shape == (4, 8)
    assert len({row.tobytes() for row in np.asarray(ys > 1)}) > 1
    assert jax.eval_shape(run, xs[0], jax.random.key(1)).shape == (8,)
    keys = jax.eval_shape(lambda key: jax.random.split(key, 4), jax.random.key(2))
    assert jax.eval_shape(jax.vmap(run), xs, keys).shape == (4, 8)


def test_behind_pool_a_padded_step_has_the_output_of_the_steps_so_far():
    net = gj.stack(gj.pool("mean"), gj.dense(2))
    params = net.init(jax.random.key(0), 3)
    y, state = net.step(params, jnp.ones((1, 3)), net.initial_state(params, (1, 3)))
    padded, _ = net.step(params, jnp.full((1, 3), jnp.nan), state, valid=jnp.zeros(1, bool))
    np.testing.assert_array_equal(padded, y)


@pytest.mark.parametrize("layer", [gj.pool("last"), gj.dropout(0.5), gj.recurrent(gj.gru(3))])
def test_a_layer_of_features_may_not_follow_one_of_images(layer):
    net = gj.stack(gj.recurrent(image_cell()), layer)
    params = net.init(jax.random.key(0), 3)
    message = f"stack: {layer} must follow a layer whose steps have 1 axes of features, got 3, in"
    with refused(f"{message} an array of shape (2, 4, 5, 6, 3)."):
        net.apply(params, jnp.ones((2, 4, 5, 6, 3)))
    images = jnp.ones((2, 5, 6, 3))
    with refused(f"{message} an array of shape (2, 5, 6, 3)."):
        net.step(params, images, (image_cell().initial_state((), images.shape), ()))


def test_deep_nets_are_compared_at_once():
    def deep():
        net = gj.recurrent(gj.gru(8))
        for _ in range(12):  # 2 to the power of 12 paths, were each compared.
            net = gj.residual(gj.stack(net, net))
        return net

    one, other = deep(), deep()
    start = time.perf_counter()
    assert one == other
    assert hash(one) == hash(other)
    assert one.apply is other.apply
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("last", [gj.recurrent(gj.gru(3)), gj.pool("max")])
def test_behind_pool_no_layer_has_a_state(last):
    """It would advance once a call, and not once a step."""
    net = gj.stack(gj.pool("mean"), last)
    params = net.init(jax.random.key(0), 3)
    message = (
        f"stack: {last} must come before the layer that removes the time axis, because it "
        "carries a state from step to step."
    )
    with refused(message):
        net.apply(params, jnp.ones((2, 5, 3)))
    with refused(message):
        net.initial_state(params, (2, 3))
