"""The contract of a cell, and the axis legend. Nothing is computed here.

Axis legend, used in every shape annotation:

    *batch   no batch axis, one, or several
    time     steps of a sequence
    input    features of one step
    hidden   features of the state
    joint    input + hidden, the rows of a gate's weights: the first `input` rows act on x,
             the rest on h
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Bool, Float, PyTree, Shaped

from gru_jax.architecture import Architecture, name_of

ArrayLike: TypeAlias = jax.Array | np.ndarray
Key: TypeAlias = jax.Array
Params: TypeAlias = PyTree[Array]
Shape: TypeAlias = tuple[int, ...]
State: TypeAlias = PyTree[ArrayLike]

Initializer: TypeAlias = Callable[[Key, Shape, jax.typing.DTypeLike], Array]
"""Draws one array of parameters, as the functions of `jax.nn.initializers` do."""

Tree = TypeVar("Tree")


def exportable(kind: type[Tree]) -> type[Tree]:
    """Registers a NamedTuple of arrays with `jax.export`, under its name in this package."""
    with contextlib.suppress(ValueError):  # A module that is loaded again has the name already.
        export.register_namedtuple_serialization(kind, serialized_name=f"gru_jax.{kind.__name__}")
    return kind


class Input(NamedTuple):
    """What one step's input must be, without batch axes.

    Attributes:
        shape: the size of each axis; None is free. `()` is a number, e.g. a token.
        dtype: a dtype or a kind, e.g. `jnp.integer`; None is the dtype of the parameters.
    """

    shape: tuple[int | None, ...] = (None,)
    dtype: Any = None


class LinearRecurrence(NamedTuple):
    """The derivative of a cell: dh_t = propagate(dh_{t-1}) + source_t.

    Axes before `hidden` are free: `source` is computed for all steps at once, before the loop, and
    `propagate` inside it, step by step. `seen` is the state that the gates read and `h` the
    state that is carried on; they differ under recurrent dropout alone.

    Products with the weights go through `products.matmul`, which also takes them transposed.

    Attributes:
        coefficients: `(gates, seen, h) -> coefficients`, a tree of arrays.
        source: `(weights, coefficients, seen, dweights, ddrive) -> dh`, linear in the last two.
        propagate: `(weights, coefficients, dseen, dh) -> dh_next`, linear in the last two.
    """

    coefficients: Callable[[PyTree[Array], Array, Array], PyTree[Array]]
    source: Callable[[PyTree[Array], PyTree[Array], Array, PyTree[Array], PyTree[Array]], Array]
    propagate: Callable[[PyTree[Array], PyTree[Array], Array, Array], Array]


class Fast(NamedTuple):
    """A step in parts, so that most of it is done for many steps at once.

        step(params, x, h) == mix(gates(pack(params), project(params, x), h), h)

    Attributes:
        step: the step that this computes. A cell with another `step` does not use it.
        project: `(params, xs) -> drive`, all that needs no `h`, in products over all steps.
        pack: `(params) -> weights`, laid out once, before the loop.
        gates: `(weights, drive_t, h) -> gates`, all that is computed from the old state.
        mix: `(gates, h) -> h_next`.
        derivative: as a linear recurrence; None is autodiff through the loop.
        gru: `(params) -> GRUParams`, where the step is a plain GRU, whose kernels then run it.
    """

    step: Callable[[Params, Array, State], State]
    project: Callable[[Params, Array], PyTree[Array]]
    pack: Callable[[Params], PyTree[Array]]
    gates: Callable[[PyTree[Array], PyTree[Array], State], PyTree[Array]]
    mix: Callable[[PyTree[Array], State], State]
    derivative: LinearRecurrence | None = None
    gru: Callable[[Params], Any] | None = None


class Cell(NamedTuple):
    """A recurrence, h_t = step(params, x_t, h_{t-1}). The first three fields are a whole cell.

    Attributes:
        init: `(key, input_size) -> params`, any pytree of arrays.
        initial_state: `(params, x_shape) -> state`, any pytree of arrays; `x_shape` is one step's
            `[*batch, input]`, and so the state's arrays begin with `*batch`.
        step: `(params, x, state) -> state`, for any batch axes.
        output: `(state) -> y`, the array that layers pass on; None is the state itself.
        fast: the step in parts; None is the step as it is, in a `lax.scan`.
        architecture: the cell as data, as `@buildable` says it; None if it has none. Whoever
            replaces a function of the cell replaces this, too.
        input: `(params) -> Input`; None is one axis of features of any size.
    """

    init: Callable[[Key, int], Params]
    initial_state: Callable[[Params, Shape], State]
    step: Callable[[Params, Array, State], State]
    output: Callable[[State], Array] | None = None
    fast: Fast | None = None
    architecture: Architecture | None = None
    input: Callable[[Params], Input] | None = None

    def __repr__(self) -> str:
        """Returns the call that built the cell."""
        return str(self.architecture or f"Cell(step={name_of(self.step)})")


@exportable
class Trace(NamedTuple):
    """What a cell did in every step of a sequence; zero in padding.

    A gate that the cell does not have is None.

    Attributes:
        r: the reset gate.
        z: the update gate, the weight of the candidate.
        c: the candidate.
        h: the state after the step.
        h_before: the state before it in the direction of travel, after a reset.
        x: the input.
        valid: False in padding.
        q: what r is multiplied with in reset="after", the old state's product h U_c + b_h.
    """

    r: Float[Array, "*batch time hidden"] | None
    z: Float[Array, "*batch time hidden"] | None
    c: Float[Array, "*batch time hidden"] | None
    h: PyTree[Shaped[Array, "..."]]
    h_before: PyTree[Shaped[Array, "..."]]
    x: Shaped[Array, "..."]
    valid: Bool[Array, "*batch time"]
    q: Float[Array, "*batch time hidden"] | None = None
