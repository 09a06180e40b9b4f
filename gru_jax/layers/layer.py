"""The contract of a layer, which maps a sequence to a sequence.

    xs --apply--> boundaries computed once, padding zeroed once --run--> ys, zero in padding
    x --step--> one time step, for streaming

Callers use `apply` and `step`, which are built from the layer's `run` and `advance`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.architecture import Architecture, bind, name_of
from gru_jax.layers.signatures import OMITTED, Apply, Omitted, Step
from gru_jax.recurrence.boundaries import Boundaries, check_state, select
from gru_jax.sequence.checks import (
    Limits,
    as_array,
    as_lengths,
    check_boundaries,
    check_inputs,
    check_key,
    check_time_axis,
    check_whole,
    clear_errors,
)
from gru_jax.sequence.choice import environment, traced_anew
from gru_jax.training.step import is_differentiating
from gru_jax.types import ArrayLike, Input, Key, Params, Shape, State

Run = Callable[[Params, Array, State | None, Boundaries, Key | None], tuple[Array, Any]]


class Layer(NamedTuple):
    """A map from sequence to sequence; `stack` composes layers. The first five fields are required.

    Attributes:
        init: `(key, input_size) -> params`.
        output_size: `(input_size) -> int`.
        run: `(params, xs, state, boundaries, key) -> (ys, state)`. The inputs are zero in padding,
            and the outputs must be, too. A state of None is the initial state.
        initial_state: `(params, x_shape) -> state`; `x_shape` is one step's `[*batch, input]`.
        advance: `(params, x, state, boundaries) -> (y, state)`, one time step, in evaluation, with
            that step's boundaries.
        trace: like `run`, but returns `(ys, traces)`: a `Trace` of each cell in place of its state.
            None for a layer without cells. If you replace `run`, replace this, too.
        architecture: the layer as data, as in `Cell`.
        input: `(params) -> Input`; None means one axis of features, of any size.
        random: whether the outputs depend on the key.
        ends_time: whether the outputs have no time axis, as in `pool`.
    """

    init: Callable[[Key, int], Params]
    output_size: Callable[[int], int]
    run: Run
    initial_state: Callable[[Params, Shape], State]
    advance: Callable[[Params, Array, State, Boundaries], tuple[Array, State]]
    trace: Run | None = None
    architecture: Architecture | None = None
    input: Callable[[Params], Input] | None = None
    random: bool = False
    ends_time: bool = False

    @property
    def apply(self) -> Apply:
        """Runs the layer over whole sequences, see `Apply`; equal layers have an equal `apply`."""
        return _bound(apply, self)

    @property
    def step(self) -> Step:
        """Runs the layer over one time step, see `Step`."""
        return _bound(step, self)

    def __repr__(self) -> str:
        """Returns the call that built the layer."""
        return str(self.architecture or f"Layer(run={name_of(self.run)})")


@lru_cache(maxsize=512)
def _bound(function: Callable[..., Any], layer: Layer) -> Any:
    """Binds a function to a layer: the same object each time, so that `jax.jit` finds it cached."""
    return bind(function, layer)


def title(layer: Layer) -> str:
    """Returns the layer's name, which begins its error messages."""
    return layer.architecture.builder if layer.architecture else "apply"


def apply(
    layer: Layer,
    params: Params,
    xs: ArrayLike,
    state: State | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    h_reset: State | None = None,
    key: Key | None = OMITTED,
) -> tuple[Array, State]:
    """Runs a layer over a sequence; `Apply` documents the arguments."""
    limits = Limits(lengths, mask, resets, h_reset)
    return compiled("run", layer, params, xs, state, limits, key)


def compiled(
    field: Literal["run", "trace"],
    layer: Layer,
    params: Params,
    xs: ArrayLike,
    state: State | None,
    limits: Limits,
    key: Key | Omitted | None,
    time_axis: int | None = None,
) -> tuple[Array, Any]:
    """Checks the arguments and calls the layer's `run` or `trace`, as one program.

    `time_axis` is that of the inputs, limits and outputs, as in `unroll`; a trace has None.
    """
    function = title(layer)
    check_whole(function, time_axis)
    if key is OMITTED:
        key = None
        if layer.random and is_differentiating():
            raise ValueError(
                f"{function}: key must be given in a training loss, because the layer is random "
                "in training; key=None selects evaluation."
            )
    xs = as_array(function, "xs", xs, "apply(params, xs, state=None, *, lengths, mask, resets)")
    limits = limits._replace(lengths=as_lengths(function, limits.lengths))
    with clear_errors():
        run = traced_anew(_compiled)
        return run(field, layer, environment(), time_axis, params, xs, state, limits, key)


# Compiled as a whole, so that a call outside jit is one program that copies nothing from the host.
@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _compiled(
    field: Literal["run", "trace"],
    layer: Layer,
    _environment: tuple[str, str],
    time_axis: int | None,
    params: Params,
    xs: Array,
    state: State | None,
    limits: Limits,
    key: Key | None,
) -> tuple[Array, Any]:
    function = title(layer)
    check_key(function, key)
    steps = check_inputs(function, layer, params, xs)
    last, axis = len(steps) - 1, check_time_axis(function, time_axis, xs, len(steps))
    boundaries = check_boundaries(function, steps, axis, limits)
    x_shape = xs.shape[:axis] + xs.shape[axis + 1 :]
    _check_states(function, layer, params, x_shape, state, limits.h_reset)
    if axis != last:
        given = xs, boundaries.valid, boundaries.resets
        xs, valid, resets = jax.tree.map(lambda a: jnp.moveaxis(a, axis, last), given)
        boundaries = boundaries._replace(valid=valid, resets=resets)
    run = traced(layer) if field == "trace" else layer.run
    ys, result = run(params, zero_padding(xs, boundaries), state, boundaries, key)
    return ys if axis == last or layer.ends_time else jnp.moveaxis(ys, last, axis), result


def _check_states(
    function: str,
    layer: Layer,
    params: Params,
    x_shape: Shape,
    state: State | None,
    h_reset: State | None,
) -> None:
    for name, given in (("state", state), ("h_reset", h_reset)):
        if given is not None:
            like = jax.eval_shape(lambda params: layer.initial_state(params, x_shape), params)
            check_state(function, name, given, like=like)


def traced(layer: Layer) -> Run:
    """Returns the layer's `trace`; for a layer without cells, a function with `()` as traces."""
    return layer.trace or bind(_no_trace, layer)


def _no_trace(layer: Layer, *args: Any) -> tuple[Array, tuple[()]]:
    return layer.run(*args)[0], ()


def step(
    layer: Layer,
    params: Params,
    x: ArrayLike,
    state: State,
    *,
    begins: ArrayLike | None = None,
    valid: ArrayLike | None = None,
    h_reset: State | None = None,
) -> tuple[Array, State]:
    """Runs one step of a layer; `Step` documents the arguments."""
    x = as_array(title(layer), "x", x, "step(params, x, state)")
    begins, valid = (rows if rows is None else jnp.asarray(rows) for rows in (begins, valid))
    with clear_errors():
        return _compiled_step(layer, params, x, state, begins, valid, h_reset)


# Compiled, so that the checks run only in tracing: a stream calls it for every step.
@partial(jax.jit, static_argnums=0)
def _compiled_step(
    layer: Layer,
    params: Params,
    x: Array,
    state: State,
    begins: Array | None,
    valid: Array | None,
    h_reset: State | None,
) -> tuple[Array, State]:
    function = title(layer)
    batch = check_inputs(function, layer, params, x, time=False)
    for name, rows in (("begins", begins), ("valid", valid)):
        if rows is not None and (rows.shape != batch or rows.dtype != jnp.bool_):
            raise ValueError(
                f"{function}: {name} must be {batch} bool to match the batch axes of x, "
                f"got {rows.shape} {rows.dtype}."
            )
    if h_reset is not None and begins is None:
        raise ValueError(f"{function}: h_reset must come with begins, got begins None.")
    _check_states(function, layer, params, x.shape, state, h_reset)
    begins = begins & valid if begins is not None and valid is not None else begins
    boundaries = Boundaries(valid, begins, h_reset)
    return layer.advance(params, zero_padding(x, boundaries), state, boundaries)


def zero_padding(xs: PyTree[Array], boundaries: Boundaries) -> PyTree[Array]:
    """Returns arrays with their padded steps set to zero."""
    if (valid := boundaries.valid) is None:
        return xs
    return jax.tree.map(lambda a: select(valid, a, 0), xs)
