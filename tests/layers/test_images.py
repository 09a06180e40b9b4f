"""Layers of images, and stacks of them around a convolutional GRU."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from refusals import refused

import gru_jax as gj

CELL = gj.conv_gru(4, coordinates=True)
STACK = gj.stack(
    gj.conv(3, (3, 3), activation="relu"),
    gj.dropout(0.2, axes=3),
    gj.bidirectional(CELL),
    gj.recurrent(CELL, zoneout=0.1),
    gj.residual(gj.recurrent(CELL)),
    gj.conv(2, (1, 1)),
    gj.pool_space("mean"),
    gj.recurrent(gj.gru(5)),
    gj.pool("last"),
    gj.dense(3),
)


@pytest.mark.parametrize("kernel", [(3,), (2, 3), (1, 2, 3)])
@pytest.mark.usefixtures("x64")
def test_conv_is_scipys_correlation(kernel, rng):
    layer = gj.conv(4, kernel, activation="relu", dtype=jnp.float64)
    params = layer.init(jax.random.key(0), 2)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    xs = rng.normal(size=(2, 3, *(4, 3, 2)[: len(kernel)], 2))
    expected = np.maximum(reference.convolve(xs, np.asarray(params.W)) + np.asarray(params.b), 0)
    ys, _ = layer.apply(params, xs)
    np.testing.assert_allclose(ys, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(layer.step(params, xs[:, 1], ())[0], ys[:, 1], rtol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pool_space_is_numpys(kind, rng):
    xs = rng.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    expected = getattr(np, kind)(xs, (2, 3))
    ys, _ = gj.pool_space(kind).apply((), xs)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-7)
    line = xs[:, :, 0]
    expected = getattr(np, kind)(line, 2)
    np.testing.assert_allclose(gj.pool_space(kind, 1).apply((), line)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("per_sequence", [False, True])
def test_dropout_on_images_draws_every_pixel_and_one_mask_per_sequence_if_asked(per_sequence):
    ones = jnp.ones((4, 6, 5, 5, 3))
    ys, _ = gj.dropout(0.5, axes=3, per_sequence=per_sequence).apply(
        (), ones, key=jax.random.key(0)
    )
    assert set(np.unique(ys)) == {0, 2}
    assert (ys == ys[:, :1]).all() == per_sequence
    for axis in (0, 2, 3, 4):
        assert (jnp.take(ys, 0, axis) != jnp.take(ys, 1, axis)).any()


@pytest.mark.slow("compiles a deep stack")
def test_a_stack_of_images_trains_with_padding_and_streams(rng):
    params = STACK.init(jax.random.key(0), 2)
    xs = jnp.asarray(rng.normal(size=(2, 4, 5, 6, 2)), jnp.float32)
    valid = np.array([[1, 1, 0, 1], [1, 1, 1, 1]], bool)
    dirty = jnp.where(valid[..., None, None, None], xs, jnp.nan)

    def loss(params, xs, key=None):
        ys, _ = STACK.apply(params, xs, mask=valid, key=key)
        assert ys.shape == (2, 3)
        return (ys**2).sum()

    gradient = jax.jit(jax.grad(loss))
    chex.assert_trees_all_close(gradient(params, dirty), gradient(params, xs), rtol=1e-6)
    chex.assert_tree_all_finite(gradient(params, dirty, jax.random.key(1)))
    forward = gj.stack(
        gj.conv(3), gj.recurrent(CELL), gj.pool_space("max"), gj.recurrent(gj.gru(5))
    )
    params = forward.init(jax.random.key(0), 2)
    state, ys = forward.initial_state(params, xs[:, 0].shape), []
    for t in range(4):
        y, state = forward.step(params, xs[:, t], state, valid=jnp.asarray(valid[:, t]))
        ys.append(y)
    expected, last = forward.apply(params, xs, mask=valid)
    chex.assert_trees_all_close((jnp.stack(ys, 1), state), (expected, last), atol=1e-6)


@pytest.mark.untyped
def test_a_net_of_images_is_saved_and_loaded(tmp_path):
    cells = gj.conv_gru(4, (3, 5), separable=True), CELL
    net = gj.stack(gj.recurrent(cells[0]), gj.recurrent(cells[1]), gj.conv(1), gj.pool_space())
    params = net.init(jax.random.key(0), 2)
    gj.save(tmp_path / "net.safetensors", net, params)
    again, weights = gj.load(tmp_path / "net.safetensors")
    assert again == net
    chex.assert_trees_all_equal(weights, params)
    assert str(net) == (
        "stack(recurrent(conv_gru(4, (3, 5), separable=True)), "
        "recurrent(conv_gru(4, coordinates=True)), conv(1), pool_space())"
    )


PARAMS = gj.conv(3).init(jax.random.key(0), 2)
REFUSED = {
    "conv: channels must be a whole number from 1, got 0.": lambda: gj.conv(0),
    "conv: kernel_size must be a tuple of one to three whole numbers from 1, one for each space "
    "axis, got 3.": lambda: gj.conv(1, 3),
    "conv: params.W must be [3, input, 3] to match the layer, got (3, 3, 2, 3).": lambda: gj.conv(
        3, (3,)
    ).apply(PARAMS, jnp.zeros((2, 4, 5, 2))),
    "conv: params.W must be [3, 3, input, 9] to match the layer, got (3, 3, 2, 3).": lambda: (
        gj.conv(9).apply(PARAMS, jnp.zeros((2, 4, 5, 5, 2)))
    ),
    "conv: params.b must be (3,) float32 to match params.W (3, 3, 2, 3), got (1,) float32.": (
        lambda: gj.conv(3).apply(PARAMS._replace(b=jnp.zeros(1)), jnp.zeros((2, 4, 5, 5, 2)))
    ),
    "conv: xs must have space axes of 1 or more, got (0, 5).": lambda: gj.conv(3).apply(
        PARAMS, jnp.zeros((2, 4, 0, 5, 2))
    ),
    "pool_space: xs must have space axes of 1 or more, got (0, 5).": lambda: gj.pool_space().apply(
        (), jnp.zeros((2, 4, 0, 5, 2))
    ),
    "conv: xs must be [*batch, time, any, any, 2] float32 to match params.W (3, 3, 2, 3), "
    "got (2, 4, 5, 6, 1) float32.": lambda: gj.conv(3).apply(PARAMS, jnp.zeros((2, 4, 5, 6, 1))),
    'pool_space: kind must be "mean" or "max", got \'last\'.': lambda: gj.pool_space("last"),
    "pool_space: axes must be a whole number from 1, got 0.": lambda: gj.pool_space(axes=0),
    "dropout: axes must be a whole number from 1, got 0.": lambda: gj.dropout(0.1, axes=0),
    "stack: dropout(0.1) must follow a layer whose steps have 1 axes of features, got 3, in an "
    "array of shape (2, 4, 5, 6, 3).": lambda: jax.eval_shape(
        partial(gj.stack(gj.conv(3), gj.dropout(0.1)).apply, (PARAMS, ())),
        jnp.zeros((2, 4, 5, 6, 2)),
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_argument_is_one_clear_message(message):
    with refused(message):
        REFUSED[message]()
