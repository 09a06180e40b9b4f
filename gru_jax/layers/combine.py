"""Layers that contain other layers."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer, traced
from gru_jax.ops.checks import check_kind
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.sequence.checks import input_of
from gru_jax.types import Input, Key, Params, Shape, State

Layers = tuple[Layer, ...]


@buildable
def stack(*layers: Layer) -> Layer:
    """Composes layers, first to last; parameters and states are tuples with one entry per layer.

    A layer that removes the time axis also removes the boundaries. Layers after `pool` see
    sequences of one step, without padding, and their outputs have no time axis.

    Raises:
        ValueError: if there are no layers, or an argument is not a layer; in a call, if a layer
            behind one that removes the time axis has a state, or if a layer's inputs have other
            axes than it reads.
    """
    if not layers:
        raise ValueError("stack: layers must be one or more, got none.")
    for layer in layers:
        check_kind("stack: layers must be Layers, e.g. recurrent(cell)", layer, Layer)
    return Layer(
        init=bind(_init, layers),
        output_size=bind(_output_size, layers),
        run=bind(_run, "run", layers),
        initial_state=bind(_initial_state, layers),
        advance=bind(_advance, layers),
        trace=bind(_run, "trace", layers),
        input=bind(_input, layers),
        random=any(layer.random for layer in layers),
        ends_time=any(layer.ends_time for layer in layers),
    )


def _init(layers: Layers, key: Key, input_size: int) -> Params:
    params = []
    for layer, key_layer in zip(layers, jax.random.split(key, len(layers)), strict=True):
        params.append(layer.init(key_layer, input_size))
        input_size = layer.output_size(input_size)
    return tuple(params)


def _output_size(layers: Layers, input_size: int) -> int:
    for layer in layers:
        input_size = layer.output_size(input_size)
    return input_size


def _input(layers: Layers, params: Params) -> Input:
    _check_parts("params", params, layers)
    shape, dtype = input_of(layers[0], params[0])
    leaves = [*jax.tree.leaves(params[0]), *jax.tree.leaves(params)]
    return Input(shape, leaves[0].dtype if dtype is None and leaves else dtype)


def _run(
    field: Literal["run", "trace"],
    layers: Layers,
    params: Params,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, Any]:
    _check_parts("params", params, layers)
    states = _each("state", state, layers)
    h_resets = _each("h_reset", boundaries.h_reset, layers)
    keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
    results, ended = [], False
    steps = xs.ndim - len(input_of(layers[0], params[0]).shape)
    for layer, p, s, h, k in zip(layers, params, states, h_resets, keys, strict=True):
        axes = _check_axes(layer, p, xs.shape, steps)
        run = traced(layer) if field == "trace" else layer.run
        ys, result = run(p, xs, s, boundaries._replace(h_reset=h), k)
        _check_order(layer, ended, result)
        results.append(result)
        if ys.ndim - 1 < xs.ndim - axes:
            ended, ys, boundaries = True, ys[..., None, :], Boundaries()
        xs = ys
    return xs[..., 0, :] if ended else xs, tuple(results)


def _check_order(layer: Layer, ended: bool, state: State) -> None:
    """Raises if a layer with a state comes behind one that removes the time axis."""
    if ended and jax.tree.leaves(state):
        raise ValueError(
            f"stack: {layer} must come before the layer that removes the time axis, because it "
            "carries a state from step to step."
        )


def _check_axes(layer: Layer, params: Params, shape: Shape, before: int) -> int:
    """Returns the number of axes of one step's input; raises if the layer before has others."""
    axes = len(input_of(layer, params).shape)
    if len(shape) - before != axes:
        raise ValueError(
            f"stack: {layer} must follow a layer whose steps have {axes} axes of features, "
            f"got {len(shape) - before}, in an array of shape {shape}."
        )
    return axes


def _initial_state(layers: Layers, params: Params, x_shape: Shape) -> State:
    _check_parts("params", params, layers)
    states, ended = [], False
    batch = len(x_shape) - len(input_of(layers[0], params[0]).shape)
    for layer, p in zip(layers, params, strict=True):
        _check_axes(layer, p, x_shape, batch)
        states.append(layer.initial_state(p, x_shape))
        _check_order(layer, ended, states[-1])
        ended |= layer.ends_time
        x_shape = _step_shape(layer, p, x_shape, states[-1])
    return tuple(states)


def _step_shape(layer: Layer, params: Params, x_shape: Shape, state: State) -> Shape:
    """Returns the shape of the layer's output at one step."""
    shape, dtype = input_of(layer, params)
    leaves = jax.tree.leaves(params)
    if dtype is None:
        dtype = leaves[0].dtype if leaves else jnp.float32
    x = jax.ShapeDtypeStruct(x_shape, jnp.int32 if dtype is jnp.integer else dtype)
    try:
        return jax.eval_shape(partial(_advance_freely, layer), params, x, state).shape
    except ValueError:  # It cannot stream, as in two directions.
        return (*(x_shape[:-1] if shape else x_shape), layer.output_size(*x_shape[-1:] or (0,)))


def _advance_freely(layer: Layer, params: Params, x: Array, state: State) -> Array:
    """Returns the layer's output at a step without boundaries."""
    return layer.advance(params, x, state, Boundaries())[0]


def _advance(
    layers: Layers, params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    _check_parts("params", params, layers)
    _check_parts("state", state, layers)
    h_resets = _each("h_reset", boundaries.h_reset, layers)
    states, batch = [], x.ndim - len(input_of(layers[0], params[0]).shape)
    for layer, p, s, h in zip(layers, params, state, h_resets, strict=True):
        _check_axes(layer, p, x.shape, batch)
        x, s = layer.advance(p, x, s, boundaries._replace(h_reset=h))
        states.append(s)
        if layer.ends_time:
            boundaries = Boundaries()
    return x, tuple(states)


@buildable
def residual(layer: Layer) -> Layer:
    """Adds a layer's outputs to its inputs, xs + layer(xs); parameters and state are the layer's.

    Args:
        layer: a layer that keeps its input's size, e.g. `recurrent(gru(64))` of 64 features.

    Raises:
        ValueError: if `layer` is not a layer; from `init`, `output_size`, `apply` and `step`, if
            outputs and inputs differ in size.

    References:
        He et al. (2016), "Deep residual learning for image recognition", eq. 1.
    """
    check_kind("residual: layer must be a Layer, e.g. recurrent(cell)", layer, Layer)
    return layer._replace(
        init=bind(_init_residual, layer),
        output_size=bind(_same_size, layer),
        run=bind(_run_residual, "run", layer),
        advance=bind(_advance_residual, layer),
        trace=layer.trace and bind(_run_residual, "trace", layer),
        architecture=None,
    )


def _same_size(layer: Layer, input_size: int) -> int:
    size = layer.output_size(input_size)
    if size != input_size:
        raise ValueError(
            f"residual: layer must have outputs of its inputs' size {input_size}, got {size}."
        )
    return size


def _init_residual(layer: Layer, key: Key, input_size: int) -> Params:
    _same_size(layer, input_size)
    return layer.init(key, input_size)


def _add(xs: Array, ys: Array) -> Array:
    if ys.shape != xs.shape or ys.dtype != xs.dtype:
        raise ValueError(
            f"residual: layer must have outputs of its inputs' shape {xs.shape} {xs.dtype}, "
            f"got {ys.shape} {ys.dtype}."
        )
    return xs + ys


def _run_residual(
    field: Literal["run", "trace"],
    layer: Layer,
    params: Params,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, Any]:
    ys, result = getattr(layer, field)(params, xs, state, boundaries, key)
    return _add(xs, ys), result


def _advance_residual(
    layer: Layer, params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    y, state = layer.advance(params, x, state, boundaries)
    return _add(x, y), state


def _each(name: str, state: State | None, layers: Layers) -> tuple[Any, ...]:
    """Returns the state of each layer; None of all is None of each."""
    states: Any = (None,) * len(layers) if state is None else state
    _check_parts(name, states, layers)
    return states


def _check_parts(name: str, parts: Params | State, layers: Layers) -> None:
    if not isinstance(parts, tuple) or len(parts) != len(layers):
        raise ValueError(
            f"stack: {name} must be a tuple of {len(layers)}, one entry a layer, "
            f"got {jax.tree.structure(parts)}."
        )
