"""A layer run on its own outputs, after a sequence.

ys, state = layer over xs
y_1 = the last valid step of ys;   y_{k+1}, state = layer.step(feedback(y_k), state)
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer, Shaped

from gru_jax.layers.layer import Layer, compiled
from gru_jax.layers.signatures import OMITTED
from gru_jax.ops.activations import Activation, find_activation
from gru_jax.ops.checks import check_count, check_kind
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.checks import (
    Limits,
    as_array,
    as_lengths,
    check_boundaries,
    clear_errors,
    input_of,
)
from gru_jax.types import ArrayLike, Key, Params, State, exportable


@exportable
class Forecast(NamedTuple):
    """The outputs over a sequence and after it.

    Attributes:
        ys: the outputs over xs, as from `apply`; ys_t forecasts x_{t+1}.
        future: the outputs `[*batch, steps, *features]`: the last valid one of ys, and those after.
        state: the state after xs and all steps of `future` except the last. To go on, call
            `layer.step(params, feedback(y), state)` with y, the last step of `future`.
    """

    ys: Shaped[Array, "..."]
    future: Shaped[Array, "..."]
    state: State


def forecast(
    layer: Layer,
    params: Params,
    xs: Shaped[ArrayLike, "..."],
    state: State | None = None,
    *,
    steps: int,
    feedback: Activation = "linear",
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    key: Key | None = OMITTED,
) -> Forecast:
    """Runs a layer over sequences, then on its own outputs.

    Works under `jit`, `vmap` and `grad`. Noise acts only on the steps of xs; the steps on its own
    outputs run in evaluation.

    Args:
        layer: a layer whose output at a step forecasts the next input.
        params: its parameters.
        xs: the inputs, `[*batch, time, *features]`.
        state: the state before the first step, as in the layer's `apply`.
        steps: the number of steps to forecast.
        feedback: maps an output to the next input: the name of an activation, e.g. "sigmoid" for
            outputs that are logits of pixels, or a function, e.g. of logits to a token.
        lengths: the number of steps before padding; the forecast starts after the last valid one.
        mask: False steps are padding. If a sequence is all padding, its forecast starts from an
            output of 0.
        resets: as in the layer's `apply`.
        h_reset: as in the layer's `apply`.
        key: as in the layer's `apply`.

    Raises:
        ValueError: as from the layer's `apply` and `step`; if xs has no step, the layer removes
            the time axis, or the fed-back outputs have another shape or dtype than the inputs.
    """
    check_kind("forecast: layer must be a Layer, e.g. stack(...)", layer, Layer)
    check_count("forecast", "steps", steps)
    function = find_activation("forecast", "feedback", feedback)
    xs = as_array("forecast", "xs", xs, "forecast(layer, params, xs, steps=10)")
    lengths = as_lengths("forecast", lengths)
    limits = Limits(lengths, mask, resets, h_reset)
    ys, state = compiled("run", layer, params, xs, state, limits, key)
    with clear_errors():
        future, state = _run_on(layer, function, int(steps), params, xs, ys, state, limits)
    return Forecast(ys, future, state)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run_on(
    layer: Layer,
    function: Callable[[Array], Array],
    steps: int,
    params: Params,
    xs: Array,
    ys: Array,
    state: State,
    limits: Limits,
) -> tuple[Array, State]:
    """Returns the outputs from the last valid step on, and the state before the last of them."""
    shape = xs.shape[: xs.ndim - len(input_of(layer, params).shape)]
    if layer.ends_time:
        raise ValueError(f"forecast: layer must keep the time axis, got {layer}.")
    if not shape[-1]:
        raise ValueError(f"forecast: xs must have one step or more, got {xs.shape}.")
    time = len(shape) - 1
    y = _take_last(ys, check_boundaries("forecast", shape, time, limits).valid, time)
    x, like = jax.eval_shape(function, y), jax.eval_shape(lambda xs: xs.take(0, time), xs)
    if getattr(x, "shape", None) != like.shape or x.dtype != like.dtype:
        actual = f"{x.shape} {x.dtype}" if hasattr(x, "shape") else f"a {type(x).__name__}"
        raise ValueError(
            f"forecast: feedback must map the layer's output, {y.shape} {y.dtype}, to an input, "
            f"{like.shape} {like.dtype}, got {actual}: give the layer outputs of its inputs' size, "
            "or another feedback."
        )

    def body(carry: tuple[Array, State], _: None) -> tuple[tuple[Array, State], Array]:
        y, state = carry
        y, state = layer.step(params, function(y), state)
        return (y, state), y

    (_, state), future = jax.lax.scan(body, (y, state), None, steps - 1)
    return jnp.moveaxis(jnp.concatenate([y[None], future]), 0, time), state


def _take_last(ys: Array, valid: Bool[Array, "*steps"] | None, time: int) -> Array:
    """Returns the last valid step; without one, the first step, which is zero."""
    if valid is None:
        return jax.lax.index_in_dim(ys, -1, time, keepdims=False)
    steps = jax.lax.broadcasted_iota(jnp.int32, valid.shape, time)
    last = select(valid, steps, 0).max(-1, keepdims=True)
    last = jnp.expand_dims(last, tuple(range(time + 1, ys.ndim)))
    return jnp.take_along_axis(ys, last, time).squeeze(time)
