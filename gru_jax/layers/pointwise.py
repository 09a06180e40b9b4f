"""Layers that treat each step by itself."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import describe
from gru_jax.ops.initializers import check_count, draw
from gru_jax.ops.products import affine
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.checks import valid_steps
from gru_jax.types import ArrayLike, Initializer, Key, Layer, Params, Shape, State, exportable


@exportable
class DenseParams(NamedTuple):
    """Weights and bias of `dense`."""

    W: Float[Array, "input output"]
    b: Float[Array, " output"]


def dense(
    size: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Maps each step's features x to x W + b; zero in padded steps.

    Args:
        size: features of the result.
        dtype: of the parameters, and so of inputs and results.
        kernel_init: of W.
        bias_init: of b.

    Raises:
        ValueError: if `size` is below 1.
    """
    check_count("dense", "size", size)

    def init(key: Key, input_size: int) -> DenseParams:
        check_count("dense", "input_size", input_size)
        key_W, key_b = jax.random.split(key)
        return DenseParams(
            draw(kernel_init, key_W, (input_size, size), dtype),
            draw(bias_init, key_b, (size,), dtype),
        )

    def step(params: DenseParams, x: Array, state: State) -> tuple[Array, State]:
        W, b = params
        if x.shape[-1:] != W.shape[:1] or x.dtype != W.dtype:
            raise ValueError(
                f"dense: xs must be [..., {W.shape[0]}] {W.dtype} to match params.W {W.shape}, "
                f"got {x.shape} {x.dtype}."
            )
        return affine(x, W, b), state

    def apply(params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        del state, resets, key
        ys, _ = step(params, zero_padding("dense", xs, lengths, mask), ())
        return zero_padding("dense", ys, lengths, mask), ()

    architecture = describe("dense", size=size, dtype=jnp.dtype(dtype).name)
    return Layer(init, lambda _: size, apply, _no_state, step, architecture=architecture)


def dropout(rate: float, *, per_sequence: bool = False) -> Layer:
    """Zeroes each feature with probability `rate` and scales the others to keep the mean.

    Only where `apply` is given a key: without one, and in `step`, it is the identity.

    Args:
        rate: the probability.
        per_sequence: one mask for all steps of a sequence (variational dropout), so that pieces of
            it with the same key have the same mask; False draws each step's own, which depends on
            the key and on the step's position alone.

    Raises:
        ValueError: unless 0 <= rate < 1.

    References:
        Srivastava et al. (2014), "Dropout"; per sequence, Gal and Ghahramani (2016), "A
        theoretically grounded application of dropout in recurrent neural networks".
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be 0 <= rate < 1, got {rate}.")

    def draw_drop(key: Key, shape: Shape) -> Array:
        return jax.random.bernoulli(key, rate, shape)

    def disturb(key: Key, xs: Array) -> Array:
        if per_sequence:
            drop = draw_drop(key, (*xs.shape[:-2], 1, xs.shape[-1]))
        else:
            drop = _draw_steps(draw_drop, key, xs.shape)
        return jnp.where(drop, 0, xs / (1 - rate))

    return _random("dropout", disturb, rate=rate, per_sequence=per_sequence)


def gaussian_noise(stddev: float) -> Layer:
    """Adds normal noise, e.g. to standardised inputs; only where `apply` is given a key.

    What a step is given depends on the key and on the step's position alone.

    Raises:
        ValueError: if `stddev` is negative or not finite.
    """
    if not 0 <= stddev < math.inf:
        raise ValueError(f"gaussian_noise: stddev must be 0 or more and finite, got {stddev}.")

    def disturb(key: Key, xs: Array) -> Array:
        draw_noise = partial(jax.random.normal, dtype=xs.dtype)
        return xs + stddev * _draw_steps(draw_noise, key, xs.shape)

    return _random("gaussian_noise", disturb, stddev=stddev)


def _draw_steps(draw: Callable[[Key, Shape], Array], key: Key, shape: Shape) -> Array:
    """Returns draws of [*batch, time, features], each step's keyed by its position."""
    *batch, time, features = shape
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(time))
    return jax.vmap(lambda key: draw(key, (*batch, features)), out_axes=-2)(keys)


def _random(name: str, disturb: Callable[[Key, Array], Array], **options: float) -> Layer:
    """Builds a layer that disturbs its inputs where there is a key."""

    def apply(params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        del params, state, resets
        xs = zero_padding(name, xs, lengths, mask)
        if key is not None:
            xs = zero_padding(name, disturb(key, xs), lengths, mask)
        return xs, ()

    return Layer(
        init=lambda *_: (),
        output_size=lambda size: size,
        apply=apply,
        initial_state=_no_state,
        step=lambda _, x, state: (x, state),
        architecture=describe(name, **options),
    )


def _no_state(_params: Params, _x_shape: Shape) -> tuple[()]:
    return ()


def zero_padding(
    function: str, xs: ArrayLike, lengths: ArrayLike | None, mask: ArrayLike | None
) -> Array:
    """Returns xs with zeros in padded steps, whatever stood there."""
    xs = jnp.asarray(xs)
    valid = valid_steps(function, xs.shape[:-1], xs.ndim - 2, lengths, mask)
    return xs if valid is None else select(valid, xs, 0)
