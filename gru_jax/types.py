"""The contract of a cell, and the axis legend. This module computes nothing.

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
"""Draws one array of parameters, like the functions of `jax.nn.initializers`."""

Tree = TypeVar("Tree")


def exportable(kind: type[Tree]) -> type[Tree]:
    """Registers a NamedTuple of arrays with `jax.export`, under its name in this package."""
    with contextlib.suppress(ValueError):  # Already registered, after a reload.
        export.register_namedtuple_serialization(kind, serialized_name=f"gru_jax.{kind.__name__}")
    return kind


class Input(NamedTuple):
    """The shape and dtype that one step's input must have, without batch axes.

    Attributes:
        shape: the size of each axis; None is any size. `()` is a scalar, e.g. a token.
        dtype: a dtype, or a category such as `jnp.integer`; None means the parameters' dtype.
    """

    shape: tuple[int | None, ...] = (None,)
    dtype: Any = None


class LinearRecurrence(NamedTuple):
    """The derivative of a cell: dh_t = propagate(dh_{t-1}) + source_t.

    Any axes may precede `hidden`, because `source` runs for all steps at once, before the loop.
    `propagate` runs step by step inside it. The gates read the state `seen`; the loop carries the
    state `h`. The two differ only under recurrent dropout.

    Use `products.matmul` to multiply by weights: it also accepts transposed weights.

    Attributes:
        coefficients: `(gates, seen, h) -> coefficients`, a tree of arrays.
        source: `(weights, coefficients, seen, dweights, ddrive) -> dh`, linear in the last two.
        propagate: `(weights, coefficients, dseen, dh) -> dh_next`, linear in the last two.
    """

    coefficients: Callable[[PyTree[Array], Array, Array], PyTree[Array]]
    source: Callable[[PyTree[Array], PyTree[Array], Array, PyTree[Array], PyTree[Array]], Array]
    propagate: Callable[[PyTree[Array], PyTree[Array], Array, Array], Array]


class Fast(NamedTuple):
    """A step split into parts, so that most of the work is done for many steps at once.

        step(params, x, h) == mix(gates(pack(params, x.shape), project(params, x), h), h)

    Attributes:
        step: the step that these parts compute. A cell with a different `step` ignores the parts.
        project: `(params, xs) -> drive`, the part that does not need `h`, as products over all
            steps.
        pack: `(params, x_shape) -> weights`, rearranged once, before the loop. Fields named U_* or
            u_* act on the state: DropConnect drops their entries.
        gates: `(weights, drive_t, h) -> gates`, the values computed from the old state.
        mix: `(gates, h) -> h_next`.
        derivative: the derivative as a linear recurrence; None differentiates through the loop.
        gru: `(params) -> GRUParams`, if the step is a plain GRU, with or without a clip; the GRU's
            kernels can then run it.
        clip: the bound that the GRU's kernels keep each state within, as `mix` does; None for no
            bound.
        affine: `(weights, drive) -> (a, b)`, if the step is h' = a * h + b and needs no state for a
            and b; all steps can then run in parallel.
        noise: whether zoneout and recurrent dropout have a meaning for the state.
    """

    step: Callable[[Params, Array, State], State]
    project: Callable[[Params, Array], PyTree[Array]]
    pack: Callable[[Params, Shape], PyTree[Array]]
    gates: Callable[[PyTree[Array], PyTree[Array], State], PyTree[Array]]
    mix: Callable[[PyTree[Array], State], State]
    derivative: LinearRecurrence | None = None
    gru: Callable[[Params], Any] | None = None
    clip: float | None = None
    affine: Callable[[PyTree[Array], PyTree[Array]], tuple[Array, Array]] | None = None
    noise: bool = True


class Cell(NamedTuple):
    """A recurrence, h_t = step(params, x_t, h_{t-1}). Only the first three fields are required.

    Attributes:
        init: `(key, input_size) -> params`, any pytree of arrays.
        initial_state: `(params, x_shape) -> state`, any pytree of arrays; `x_shape` is one step's
            `[*batch, input]`, so the state's arrays begin with `*batch`.
        step: `(params, x, state) -> state`, for any batch axes. Padding is read as zeros, where
            the step must be finite and differentiable.
        output: `(state) -> y`, the array that layers pass on; None passes on the state itself.
        fast: the step split into parts; None runs `step` in a `lax.scan`.
        architecture: the cell as data, set by `@buildable`, or None. If you replace a function of
            the cell, replace this, too.
        input: `(params) -> Input`; None means one axis of features, of any size.
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
    """The values of a cell at every step of a sequence; zero in padding.

    `r`, `z`, `c` and `q` are the gates of a GRU: the fields of `gates` with these names, each None
    if the cell does not have it.

    Attributes:
        gates: the values that the cell's `fast.gates` returns; None for a cell without `fast`.
        h: the state after the step.
        h_before: the state that the step starts from, after any reset; in reverse, too.
        x: the input.
        valid: False in padding.
    """

    gates: PyTree[Shaped[Array, "..."]] | None
    h: PyTree[Shaped[Array, "..."]]
    h_before: PyTree[Shaped[Array, "..."]]
    x: Shaped[Array, "..."]
    valid: Bool[Array, "*batch time"]

    @property
    def r(self) -> Float[ArrayLike, "*batch time hidden"] | None:
        """Returns the reset gate."""
        return getattr(self.gates, "r", None)

    @property
    def z(self) -> Float[ArrayLike, "*batch time hidden"] | None:
        """Returns the update gate, the weight of the candidate."""
        return getattr(self.gates, "z", None)

    @property
    def c(self) -> Float[ArrayLike, "*batch time hidden"] | None:
        """Returns the candidate."""
        return getattr(self.gates, "c", None)

    @property
    def q(self) -> Float[ArrayLike, "*batch time hidden"] | None:
        """Returns the old state's product h U_c + b_h, which r multiplies with reset="after"."""
        return getattr(self.gates, "q", None)
