"""Layers made of layers."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import describe
from gru_jax.layers.pointwise import zero_padding
from gru_jax.types import Apply, Key, Layer, Params, Shape, State


def stack(*layers: Layer) -> Layer:
    """Composes layers, first to last; parameters and states are tuples, one entry a layer.

    A layer that ends the time axis ends the boundaries with it: layers behind `pool` see sequences
    of one step, without padding, and what comes out has no time axis.

    Raises:
        ValueError: if there is no layer, or something else.
    """
    if not layers:
        raise ValueError("stack: layers must be one or more, got none.")
    for layer in layers:
        if not isinstance(layer, Layer):
            kind = type(layer).__name__
            raise ValueError(f"stack: layers must be Layers, e.g. recurrent(cell), got a {kind}.")

    def init(key: Key, input_size: int) -> Params:
        params = []
        for layer, key_layer in zip(layers, jax.random.split(key, len(layers)), strict=True):
            params.append(layer.init(key_layer, input_size))
            input_size = layer.output_size(input_size)
        return tuple(params)

    def output_size(input_size: int) -> int:
        for layer in layers:
            input_size = layer.output_size(input_size)
        return input_size

    def through(calls, params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        _check_parts("params", params, layers)
        state = (None,) * len(layers) if state is None else state
        _check_parts("state", state, layers)
        keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
        xs, found, ended = jnp.asarray(xs), [], False
        for call, p, s, k in zip(calls, params, state, keys, strict=True):
            ys, new = call(p, xs, s, lengths=lengths, mask=mask, resets=resets, key=k)
            found.append(new)
            if ys.ndim < xs.ndim:
                ended, ys = True, ys[..., None, :]
                lengths = mask = resets = None
            xs = ys
        return xs[..., 0, :] if ended else xs, tuple(found)

    def initial_state(params: Params, x_shape: Shape) -> State:
        _check_parts("params", params, layers)
        states = []
        for layer, p in zip(layers, params, strict=True):
            states.append(layer.initial_state(p, x_shape))
            x_shape = (*x_shape[:-1], layer.output_size(x_shape[-1]))
        return tuple(states)

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        _check_parts("params", params, layers)
        _check_parts("state", state, layers)
        states = []
        for layer, p, s in zip(layers, params, state, strict=True):
            x, s = layer.step(p, x, s)
            states.append(s)
        return x, tuple(states)

    apply = partial(through, [layer.apply for layer in layers])
    trace = partial(through, [_tracing(layer) for layer in layers])
    architecture = describe("stack", *layers)
    return Layer(init, output_size, apply, initial_state, step, trace, architecture)


def residual(layer: Layer) -> Layer:
    """Adds a layer's outputs to its inputs, xs + layer(xs); parameters and state are the layer's.

    Args:
        layer: one that keeps its input's size, e.g. `recurrent(gru(64))` of 64 features.

    Raises:
        ValueError: if `layer` is something else; from `init`, `output_size`, `apply` and `step`, if
            outputs and inputs differ in size.

    References:
        He et al. (2016), "Deep residual learning for image recognition", eq. 1.
    """
    if not isinstance(layer, Layer):
        kind = type(layer).__name__
        raise ValueError(f"residual: layer must be a Layer, e.g. recurrent(cell), got a {kind}.")

    def output_size(input_size: int) -> int:
        size = layer.output_size(input_size)
        if size != input_size:
            raise ValueError(
                f"residual: layer must have outputs of its inputs' size {input_size}, got {size}."
            )
        return size

    def init(key: Key, input_size: int) -> Params:
        output_size(input_size)
        return layer.init(key, input_size)

    def add(xs: Array, ys: Array) -> Array:
        if ys.shape != xs.shape or ys.dtype != xs.dtype:
            raise ValueError(
                f"residual: layer must have outputs of its inputs' shape {xs.shape} {xs.dtype}, "
                f"got {ys.shape} {ys.dtype}."
            )
        return xs + ys

    def around(call, params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        xs = jnp.asarray(xs)
        steps = {"lengths": lengths, "mask": mask, "resets": resets}
        ys, found = call(params, xs, state, **steps, key=key)
        return zero_padding("residual", add(xs, ys), lengths, mask), found

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        y, state = layer.step(params, x, state)
        return add(x, y), state

    apply, trace = partial(around, layer.apply), partial(around, _tracing(layer))
    architecture = describe("residual", layer)
    return Layer(init, output_size, apply, layer.initial_state, step, trace, architecture)


def _tracing(layer: Layer) -> Apply:
    """Returns the layer's `trace`, or what does for one in a layer without gates."""
    return layer.trace or (lambda *args, **steps: (layer.apply(*args, **steps)[0], ()))


def _check_parts(name: str, parts: Params | State, layers: tuple[Layer, ...]) -> None:
    if not isinstance(parts, tuple) or len(parts) != len(layers):
        raise ValueError(
            f"stack: {name} must be a tuple of {len(layers)}, one entry a layer, "
            f"got {jax.tree.structure(parts)}."
        )
