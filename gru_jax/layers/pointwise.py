"""Layers that act on each step separately."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer, zero_padding
from gru_jax.ops.checks import check_count, check_dtype, check_kind, is_finite
from gru_jax.ops.initializers import draw, init_glorot_uniform, init_normal
from gru_jax.ops.products import affine
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.types import Initializer, Input, Key, Params, Shape, State, exportable


@exportable
class DenseParams(NamedTuple):
    """Weights and bias of `dense`."""

    W: Float[Array, "input output"]
    b: Float[Array, " output"]


@buildable
def dense(
    size: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    kernel_init: Initializer = init_glorot_uniform,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Maps each step's features x to x W + b; zero in padded steps.

    Args:
        size: the number of output features.
        dtype: the dtype of parameters, and so of inputs and results.
        kernel_init: initialises W.
        bias_init: initialises b.

    Raises:
        ValueError: if `size` is below 1.
    """
    check_count("dense", "size", size)
    return Layer(
        init=bind(_init_dense, int(size), check_dtype("dense", dtype), kernel_init, bias_init),
        output_size=bind(constant, int(size)),
        run=bind(run_each, _advance_dense),
        initial_state=no_state,
        advance=_advance_dense,
        input=_input_dense,
    )


def _init_dense(
    size: int,
    dtype: jax.typing.DTypeLike,
    kernel_init: Initializer,
    bias_init: Initializer,
    key: Key,
    input_size: int,
) -> DenseParams:
    check_count("dense", "input_size", input_size)
    key_W, key_b = jax.random.split(key)
    return DenseParams(
        draw(kernel_init, key_W, (input_size, size), dtype),
        draw(bias_init, key_b, (size,), dtype),
    )


def _advance_dense(
    params: DenseParams, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    W, b = params
    if x.shape[-1:] != W.shape[:1] or x.dtype != W.dtype:
        raise ValueError(
            f"dense: xs must be [..., {W.shape[0]}] {W.dtype} to match params.W {W.shape}, "
            f"got {x.shape} {x.dtype}."
        )
    return zero_padding(affine(x, W, b), boundaries), state


def _input_dense(params: DenseParams) -> Input:
    check_kind("dense: params must be DenseParams", params, DenseParams)
    return Input(params.W.shape[:1])


@exportable
class EmbedParams(NamedTuple):
    """The vectors of `embed`, one row per token."""

    W: Float[Array, "vocabulary features"]


@buildable
def embed(
    vocabulary: int,
    features: int,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    embedding_init: Initializer = init_normal,
) -> Layer:
    """Maps tokens, integers `[*batch, time]`, to vectors `[*batch, time, features]`.

    Tokens outside the vocabulary are not checked: they map to NaN, so that no loss trains on them.
    To tie a language model's output to these vectors, compute logits as `ys @ params[0].W.T` in
    place of `dense`.

    Args:
        vocabulary: the number of tokens, 0 to `vocabulary` - 1; also the net's `input_size`.
        features: the size of each vector.
        dtype: the dtype of the vectors.
        embedding_init: initialises the vectors.

    Raises:
        ValueError: if a size is below 1; from `init`, if `input_size` is not `vocabulary`.
    """
    check_count("embed", "vocabulary", vocabulary)
    check_count("embed", "features", features)
    return Layer(
        init=bind(
            _init_embed, int(vocabulary), int(features), check_dtype("embed", dtype), embedding_init
        ),
        output_size=bind(constant, int(features)),
        run=bind(run_each, _advance_embed),
        initial_state=no_state,
        advance=_advance_embed,
        input=_input_embed,
    )


def _init_embed(
    vocabulary: int,
    features: int,
    dtype: jax.typing.DTypeLike,
    embedding_init: Initializer,
    key: Key,
    input_size: int,
) -> EmbedParams:
    if input_size != vocabulary:
        raise ValueError(
            f"embed: input_size must be the vocabulary's {vocabulary}, got {input_size}."
        )
    return EmbedParams(draw(embedding_init, key, (vocabulary, features), dtype))


def _advance_embed(
    params: EmbedParams, x: Integer[Array, "..."], state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    ys = params.W.at[x].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return zero_padding(ys, boundaries), state


def _input_embed(params: EmbedParams) -> Input:
    check_kind("embed: params must be EmbedParams", params, EmbedParams)
    return Input((), jnp.integer)


@buildable
def dropout(rate: float, *, per_sequence: bool = False, axes: int = 1) -> Layer:
    """Zeroes each feature with probability `rate` and scales the others to keep the mean.

    Acts only if `apply` is given a key. Without a key, and in `step`, it is the identity.

    Args:
        rate: the probability.
        per_sequence: one mask for all steps of a sequence (variational dropout), so pieces of a
            sequence with the same key have the same mask. False draws a mask for each step, which
            depends only on the key and the step's position.
        axes: the axes of one step's features, e.g. 3 for images `[height, width, channels]`.

    Raises:
        ValueError: unless 0 <= rate < 1; if `axes` is below 1.

    References:
        Srivastava et al. (2014), "Dropout"; per sequence, Gal and Ghahramani (2016), "A
        theoretically grounded application of dropout in recurrent neural networks".
    """
    if not is_finite(rate) or not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be 0 <= rate < 1, got {rate!r}.")
    disturb = bind(_drop, float(rate), bool(per_sequence))
    return _random_layer("dropout", disturb, axes, random=rate > 0)


def _drop(rate: float, per_sequence: bool, axes: int, key: Key, xs: Array) -> Array:
    draw_drop = partial(jax.random.bernoulli, p=rate)
    if per_sequence:
        drop = draw_drop(key, shape=(*xs.shape[: -1 - axes], 1, *xs.shape[-axes:]))
    else:
        drop = _draw_steps(lambda key, shape: draw_drop(key, shape=shape), key, xs.shape, axes)
    return jnp.where(drop, 0, xs / (1 - rate))


@buildable
def gaussian_noise(stddev: float, *, axes: int = 1) -> Layer:
    """Adds normal noise, e.g. to standardised inputs; acts only if `apply` is given a key.

    The noise of a step depends only on the key and on the step's position.

    Args:
        stddev: the standard deviation.
        axes: the axes of one step's features, as in `dropout`.

    Raises:
        ValueError: if `stddev` is negative or not finite, or `axes` is below 1.
    """
    if not is_finite(stddev) or stddev < 0:
        raise ValueError(f"gaussian_noise: stddev must be 0 or more and finite, got {stddev!r}.")
    return _random_layer("gaussian_noise", bind(_add_noise, float(stddev)), axes, random=stddev > 0)


def _add_noise(stddev: float, axes: int, key: Key, xs: Array) -> Array:
    draw_noise = partial(jax.random.normal, dtype=xs.dtype)
    return xs + stddev * _draw_steps(draw_noise, key, xs.shape, axes)


def _draw_steps(draw: Callable[[Key, Shape], Array], key: Key, shape: Shape, axes: int) -> Array:
    """Returns random arrays [*batch, time, *features], each step drawn from its position's key."""
    split = len(shape) - axes
    *batch, time = shape[:split]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(time))
    return jax.vmap(lambda key: draw(key, (*batch, *shape[split:])), out_axes=split - 1)(keys)


def _random_layer(
    function: str, disturb: Callable[[int, Key, Array], Array], axes: int, random: bool
) -> Layer:
    """Builds a layer that adds noise to its inputs if it is given a key."""
    check_count(function, "axes", axes)
    return Layer(
        init=no_params,
        output_size=same_size,
        run=bind(_run_random, bind(disturb, int(axes))),
        initial_state=no_state,
        advance=_advance_random,
        input=bind(free_input, int(axes)),
        random=random,
    )


def _run_random(
    disturb: Callable[[Key, Array], Array],
    params: Params,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, State]:
    del params, state
    return xs if key is None else zero_padding(disturb(key, xs), boundaries), ()


def _advance_random(
    params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    del params, boundaries
    return x, state


def run_each(
    advance: Callable[..., tuple[Array, State]],
    params: Params,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, State]:
    """Runs a layer without state on all steps at once, as if they were one."""
    del state, key
    return advance(params, xs, (), boundaries)


def free_input(axes: int, _: Params) -> Input:
    """Returns an `Input` with axes of any size."""
    return Input((None,) * axes)


def no_params(_key: Key, _input_size: int) -> Params:
    """Returns `()`, the parameters of a layer without parameters."""
    return ()


def no_state(_params: Params, _x_shape: Shape) -> State:
    """Returns `()`, the state of a layer without state."""
    return ()


def same_size(size: int) -> int:
    """Returns the size of the inputs."""
    return size


def constant(value: int, _: int) -> int:
    """Returns the value, whatever the size of the inputs."""
    return value
