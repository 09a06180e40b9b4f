"""The contract of a layer, which maps a sequence to a sequence.

    xs --apply--> boundaries computed once, padding zeroed once --run--> ys, zero in padding
    x --step--> one time step, for streaming

Callers use `apply` and `step`, which are built from the layer's `run` and `advance`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer, PyTree, Shaped

from gru_jax.architecture import Architecture, bind, name_of
from gru_jax.recurrence.boundaries import Boundaries, check_state, select
from gru_jax.sequence.checks import (
    Limits,
    as_array,
    as_lengths,
    check_boundaries,
    check_inputs,
    check_key,
    clear_errors,
)
from gru_jax.sequence.choice import environment, traced_anew
from gru_jax.training.step import is_differentiating
from gru_jax.types import ArrayLike, Input, Key, Params, Shape, State


class _Omitted:
    """The placeholder for an omitted key; an explicit None means evaluation."""

    def __repr__(self) -> str:
        return "None"


OMITTED: Any = _Omitted()


@runtime_checkable
class Apply(Protocol):
    """Runs a layer over whole sequences."""

    def __call__(
        self,
        params: Params,
        xs: Shaped[ArrayLike, "..."],
        state: State | None = None,
        *,
        lengths: Integer[ArrayLike, "*batch"] | None = None,
        mask: Bool[ArrayLike, "*batch time"] | None = None,
        resets: Bool[ArrayLike, "*batch time"] | None = None,
        key: Key | None = OMITTED,
    ) -> tuple[Array, State]:
        """Returns the outputs, zero in padding, and the state after the sequence.

        Args:
            params: the layer's parameters.
            xs: the inputs, `[*batch, time, input]`.
            state: the state before the first step, as returned by an earlier call; None is the
                initial state.
            lengths: the number of steps before padding, as in `unroll`.
            mask: False steps are padding, as in `unroll`.
            resets: True steps begin a new segment, as in `unroll`.
            key: turns on training noise; None selects evaluation. In a loss that `make_train_step`
                differentiates, a layer with noise must be given a key or None.

        Raises:
            ValueError: if an argument does not match the others.
        """
        ...


@runtime_checkable
class Step(Protocol):
    """Runs a layer over one time step, in evaluation."""

    def __call__(
        self,
        params: Params,
        x: Shaped[ArrayLike, "..."],
        state: State,
        *,
        begins: Bool[ArrayLike, "*batch"] | None = None,
        valid: Bool[ArrayLike, "*batch"] | None = None,
    ) -> tuple[Array, State]:
        """Returns the output and the state after the step.

        Args:
            params: the layer's parameters.
            x: one step's input, `[*batch, input]`.
            state: from `initial_state`, from the previous step, or from `apply`.
            begins: True rows begin a new segment (an episode): recurrent states are set to the
                initial state before x is read.
            valid: False rows are padding: their state is unchanged. Their output is zero; from a
                `pool` onwards it is the output of the steps so far.

        Raises:
            ValueError: if an argument does not match the others, or the layer cannot stream.
        """
        ...


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
    key: Key | None = OMITTED,
) -> tuple[Array, State]:
    """Runs a layer over a sequence; `Apply` documents the arguments."""
    return compiled("run", layer, params, xs, state, Limits(lengths, mask, resets), key)


def compiled(
    field: Literal["run", "trace"],
    layer: Layer,
    params: Params,
    xs: ArrayLike,
    state: State | None,
    limits: Limits,
    key: Key | _Omitted | None,
) -> tuple[Array, Any]:
    """Checks the arguments and calls the layer's `run` or `trace`, as one program."""
    function = title(layer)
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
        return run(field, layer, environment(), params, xs, state, limits, key)


# Compiled as a whole, so that a call outside jit is one program that copies nothing from the host.
@partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled(
    field: Literal["run", "trace"],
    layer: Layer,
    _environment: tuple[str, str],
    params: Params,
    xs: Array,
    state: State | None,
    limits: Limits,
    key: Key | None,
) -> tuple[Array, Any]:
    function = title(layer)
    check_key(function, key)
    steps = check_inputs(function, layer, params, xs)
    boundaries = check_boundaries(function, steps, len(steps) - 1, limits)
    if state is not None:
        x_shape = (*steps[:-1], *xs.shape[len(steps) :])
        like = jax.eval_shape(lambda params: layer.initial_state(params, x_shape), params)
        check_state(function, "state", state, like=like)
    run = traced(layer) if field == "trace" else layer.run
    return run(params, zero_padding(xs, boundaries), state, boundaries, key)


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
) -> tuple[Array, State]:
    """Runs one step of a layer; `Step` documents the arguments."""
    x = as_array(title(layer), "x", x, "step(params, x, state)")
    begins, valid = (rows if rows is None else jnp.asarray(rows) for rows in (begins, valid))
    with clear_errors():
        return _compiled_step(layer, params, x, state, begins, valid)


# Compiled, so that the checks run only in tracing: a stream calls it for every step.
@partial(jax.jit, static_argnums=0)
def _compiled_step(
    layer: Layer,
    params: Params,
    x: Array,
    state: State,
    begins: Array | None,
    valid: Array | None,
) -> tuple[Array, State]:
    function = title(layer)
    batch = check_inputs(function, layer, params, x, time=False)
    for name, rows in (("begins", begins), ("valid", valid)):
        if rows is not None and (rows.shape != batch or rows.dtype != jnp.bool_):
            raise ValueError(
                f"{function}: {name} must be {batch} bool to match the batch axes of x, "
                f"got {rows.shape} {rows.dtype}."
            )
    like = jax.eval_shape(lambda params: layer.initial_state(params, x.shape), params)
    check_state(function, "state", state, like=like)
    begins = begins & valid if begins is not None and valid is not None else begins
    boundaries = Boundaries(valid, begins)
    return layer.advance(params, zero_padding(x, boundaries), state, boundaries)


def zero_padding(xs: PyTree[Array], boundaries: Boundaries) -> PyTree[Array]:
    """Returns arrays with their padded steps set to zero."""
    if (valid := boundaries.valid) is None:
        return xs
    return jax.tree.map(lambda a: select(valid, a, 0), xs)
