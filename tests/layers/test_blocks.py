"""Blocks of pixels as channels, against loops over the pixels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj


@pytest.mark.parametrize(("size", "space"), [(2, (4, 6)), (3, (6,)), (2, (2, 4, 6)), (1, (3, 2))])
def test_each_block_is_one_pixel_and_comes_back(size, space, rng):
    axes = len(space)
    xs = rng.normal(size=(2, 3, *space, 2)).astype(np.float32)
    ys, _ = gj.space_to_depth(size, axes).apply((), xs)
    assert ys.shape == (2, 3, *(side // size for side in space), 2 * size**axes)
    blocks = list(itertools.product(range(size), repeat=axes))
    for pixel in np.ndindex(*space):
        block = tuple(i // size for i in pixel)
        inside = blocks.index(tuple(i % size for i in pixel))
        np.testing.assert_array_equal(
            ys[:, :, *block, 2 * inside : 2 * inside + 2], xs[:, :, *pixel]
        )
    back = gj.depth_to_space(size, axes)
    np.testing.assert_array_equal(back.apply((), ys)[0], xs)
    np.testing.assert_array_equal(back.step((), ys[:, 0], ())[0], xs[:, 0])


def test_sizes_follow_through_a_net():
    net = gj.stack(
        gj.space_to_depth(2), gj.recurrent(gj.conv_gru(8)), gj.depth_to_space(2), gj.conv(1)
    )
    assert net.output_size(3) == 1
    params = net.init(jax.random.key(0), 3)
    assert params[1].W_r.shape == (3, 3, 12 + 8, 8)
    assert net.apply(params, jnp.ones((1, 2, 4, 6, 3)))[0].shape == (1, 2, 4, 6, 1)
    assert gj.build(net.architecture) == net


def test_padding_stays_zero():
    xs = jnp.ones((1, 3, 2, 2, 1))
    ys, _ = gj.space_to_depth(2).apply((), xs, lengths=jnp.array([2]))
    np.testing.assert_array_equal(ys[0, :, 0, 0].sum(-1), [4, 4, 0])


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (
            "space_to_depth: xs must have space axes that are multiples of 2, got (4, 5).",
            lambda: gj.space_to_depth(2).apply((), jnp.ones((1, 2, 4, 5, 1))),
        ),
        (
            "depth_to_space: channels must be a multiple of 4, got 6.",
            lambda: gj.depth_to_space(2).init(jax.random.key(0), 6),
        ),
        (
            "depth_to_space: channels must be a multiple of 4, got 3.",
            lambda: gj.depth_to_space(2).apply((), jnp.ones((1, 2, 4, 4, 3))),
        ),
        (
            "space_to_depth: size must be a whole number from 1, got 0.",
            lambda: gj.space_to_depth(0),
        ),
        (
            "depth_to_space: axes must be a whole number from 1, got 0.",
            lambda: gj.depth_to_space(2, 0),
        ),
    ],
)
@pytest.mark.untyped
def test_what_does_not_fit_is_refused(message, call):
    with refused(message):
        call()
