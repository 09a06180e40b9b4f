"""What is random in layers that treat each step by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

KEY = jax.random.key(0)
ONES = jnp.ones((100, 50, 20))
LAYERS = {
    "dropout": gj.dropout(0.5),
    "dropout-per-sequence": gj.dropout(0.5, per_sequence=True),
    "gaussian_noise": gj.gaussian_noise(0.3),
}


@pytest.mark.parametrize("per_sequence", [False, True])
def test_dropout_zeroes_its_share_and_keeps_the_mean(per_sequence):
    layer = gj.dropout(0.3, per_sequence=per_sequence)
    ys, _ = layer.apply((), ONES, key=KEY)
    # Four standard deviations of the share, of 100,000 draws and of 2,000.
    assert (ys == 0).mean() == pytest.approx(0.3, abs=0.041 if per_sequence else 0.006)
    np.testing.assert_allclose(ys[ys != 0], 1 / 0.7, rtol=1e-6)


def test_gaussian_noise_has_its_standard_deviation():
    ys, _ = gj.gaussian_noise(0.3).apply((), ONES, key=KEY)
    assert ys.mean() == pytest.approx(1, abs=0.005)
    assert ys.std() == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_key_what_is_random_is_the_identity(name):
    np.testing.assert_array_equal(LAYERS[name].apply((), ONES[:2])[0], ONES[:2])
    np.testing.assert_array_equal(LAYERS[name].step((), ONES[0], ())[0], ONES[0])


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_step_is_given_depends_on_its_position_and_not_on_the_length(name):
    """So neither a longer padding nor a cut behind it changes a step."""
    layer = LAYERS[name]
    whole, _ = layer.apply((), ONES, key=KEY)
    begin, _ = layer.apply((), ONES[:, :7], key=KEY)
    np.testing.assert_array_equal(begin, whole[:, :7])
    padded, _ = layer.apply((), ONES, key=KEY, lengths=jnp.full(100, 7))
    np.testing.assert_array_equal(padded[:, :7], begin)
    assert not padded[:, 7:].any()


@pytest.mark.parametrize("name", LAYERS)
def test_sequences_and_features_are_given_different_draws_and_so_are_steps(name):
    ys, _ = LAYERS[name].apply((), ONES, key=KEY)
    for axis in (0, 2):
        first, second = jnp.take(ys, 0, axis), jnp.take(ys, 1, axis)
        assert (first != second).any()
    of_time = (ys != ys[:, :1]).any()
    assert of_time == (name != "dropout-per-sequence")


def test_pieces_of_a_sequence_share_the_mask_drawn_per_sequence():
    """With one key for all of them, as truncated backpropagation wants it."""
    layer = LAYERS["dropout-per-sequence"]
    first, _ = layer.apply((), ONES[:, :10], key=KEY)
    second, _ = layer.apply((), ONES[:, 10:], key=KEY)
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    other, _ = layer.apply((), ONES[:, 10:], key=jax.random.key(7))
    assert (other[:, 0] != first[:, 0]).any()


@pytest.mark.parametrize("name", LAYERS)
def test_time_may_be_empty_and_batch_axes_any(name):
    run = partial(LAYERS[name].apply, (), key=KEY)
    for shape in ((100, 0, 20), (50, 20), (10, 10, 50, 20)):
        assert jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))[0].shape == shape


def test_equal_keys_draw_equally_and_layers_of_a_stack_differently():
    net = gj.stack(gj.dropout(0.5), gj.dropout(0.5))
    one, _ = net.apply(((), ()), ONES, key=jax.random.key(1))
    again, _ = net.apply(((), ()), ONES, key=jax.random.key(1))
    other, _ = net.apply(((), ()), ONES, key=jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (one != 0).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.untyped
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("make", [gj.dropout, gj.gaussian_noise])
def test_a_rate_with_a_dtype_leaves_the_inputs_theirs(make, dtype):
    ys, _ = make(np.float32(0.5)).apply((), ONES[:1].astype(dtype), key=KEY)
    assert ys.dtype == dtype
