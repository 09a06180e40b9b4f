"""Blocks of pixels as channels, and back, for the images of each step.

[*batch, time, height, width, channels] <-> [*batch, time, height/n, width/n, n^2 channels]
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import free_input, no_state, run_each
from gru_jax.ops.checks import check_count
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.types import Key, Params, Shape, State


@buildable
def space_to_depth(size: int = 2, axes: int = 2) -> Layer:
    """Turns each block of pixels into the channels of one pixel: an image `size` times smaller.

    Channel `i * channels + c` is channel c of the block's pixel i, counted along the last axis
    first. Nothing is lost; `depth_to_space` is the inverse. A GRU then runs on fewer pixels.

    Args:
        size: the block's side, in pixels.
        axes: the number of space axes.

    Raises:
        ValueError: if an option is out of range; in a call, if a space axis is no multiple of
            `size`.
    """
    return _blocks("space_to_depth", size, axes, _to_depth, _count_depth)


@buildable
def depth_to_space(size: int = 2, axes: int = 2) -> Layer:
    """Turns the channels of each pixel into a block of pixels, the inverse of `space_to_depth`.

    Args:
        size: the block's side, in pixels.
        axes: the number of space axes.

    Raises:
        ValueError: if an option is out of range; from `init` and in a call, if the channels are no
            multiple of `size ** axes`.

    References:
        Shi et al. (2016), "Real-time single image and video super-resolution using an efficient
        sub-pixel convolutional neural network", eq. 4, with the channels last.
    """
    return _blocks("depth_to_space", size, axes, _to_space, _count_space)


def _blocks(
    function: str,
    size: int,
    axes: int,
    move: Callable[[int, int, Array], Array],
    count: Callable[[int, int, int], int],
) -> Layer:
    check_count(function, "size", size)
    check_count(function, "axes", axes)
    advance = bind(_advance_blocks, move, int(size), int(axes))
    return Layer(
        init=bind(_init_blocks, count, int(size), int(axes)),
        output_size=bind(count, int(size), int(axes)),
        run=bind(run_each, advance),
        initial_state=no_state,
        advance=advance,
        input=bind(free_input, int(axes) + 1),
    )


def _init_blocks(
    count: Callable[[int, int, int], int], size: int, axes: int, key: Key, input_size: int
) -> tuple[()]:
    del key
    count(size, axes, input_size)
    return ()


def _count_depth(size: int, axes: int, channels: int) -> int:
    return channels * size**axes


def _count_space(size: int, axes: int, channels: int) -> int:
    if channels % size**axes:
        raise ValueError(
            f"depth_to_space: channels must be a multiple of {size**axes}, got {channels}."
        )
    return channels // size**axes


def _advance_blocks(
    move: Callable[[int, int, Array], Array],
    size: int,
    axes: int,
    params: Params,
    x: Array,
    state: State,
    boundaries: Boundaries,
) -> tuple[Array, State]:
    del params, boundaries
    return move(size, axes, x), state


def _to_depth(size: int, axes: int, x: Array) -> Array:
    batch, space, inner = _split(axes, x)
    if any(side % size for side in space):
        raise ValueError(
            f"space_to_depth: xs must have space axes that are multiples of {size}, got {space}."
        )
    sides = [side // size for side in space]
    x = x.reshape(*batch, *(n for side in sides for n in (side, size)), x.shape[-1])
    x = jnp.moveaxis(x, inner, range(x.ndim - 1 - axes, x.ndim - 1))
    return x.reshape(*batch, *sides, x.shape[-1] * size**axes)


def _to_space(size: int, axes: int, x: Array) -> Array:
    batch, space, inner = _split(axes, x)
    channels = _count_space(size, axes, x.shape[-1])
    x = x.reshape(*batch, *space, *[size] * axes, channels)
    x = jnp.moveaxis(x, range(x.ndim - 1 - axes, x.ndim - 1), inner)
    return x.reshape(*batch, *(side * size for side in space), channels)


def _split(axes: int, x: Array) -> tuple[Shape, Shape, list[int]]:
    """Returns the batch and the space axes, and the places of the pixels within a block."""
    count = x.ndim - 1 - axes
    return x.shape[:count], x.shape[count:-1], [count + 2 * axis + 1 for axis in range(axes)]
