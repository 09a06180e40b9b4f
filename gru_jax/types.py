"""The two contracts that everything plugs into, and the axis legend. Nothing is computed here.

Axis legend, used in every shape annotation:

    *batch   no batch axis, one, or several
    time     steps of a sequence
    input    features of one step
    hidden   features of the state
    joint    input + hidden, the rows of a gate's weights: the first `input` rows act on x,
             the rest on h
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Bool, Float, Integer, PyTree

ArrayLike: TypeAlias = jax.Array | np.ndarray
Key: TypeAlias = jax.Array
Params: TypeAlias = PyTree[Array]
Shape: TypeAlias = tuple[int, ...]
State: TypeAlias = PyTree[ArrayLike]

Initializer: TypeAlias = Callable[[Key, Shape, jax.typing.DTypeLike], Array]
"""How one array of parameters begins: what `jax.nn.initializers` are."""

Tree = TypeVar("Tree")


def exportable(kind: type[Tree]) -> type[Tree]:
    """Returns a NamedTuple of arrays of which `jax.export` knows what it is called in a file."""
    return export.register_namedtuple_serialization(
        kind, serialized_name=f"gru_jax.{kind.__name__}"
    )


class Architecture(NamedTuple):
    """What a cell or a layer is, as data: enough to build it again, but for how it begins.

    Attributes:
        builder: the name of the function that builds it, e.g. `"gru"`.
        parts: what that function is given of cells or layers.
        options: its other arguments by name.
    """

    builder: str
    parts: tuple["Architecture", ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


class Rule(NamedTuple):
    """The derivative of a cell as a linear recurrence: dh_t = propagate(dh_{t-1}) + source_t.

    Axes before `hidden` are free: `source` is computed for all steps at once, before the loop, and
    `propagate` inside it, step by step. `seen` is the state that the gates read and `h` the
    state that is carried on; they differ under recurrent dropout alone.

    Products with the weights go through `linear.matmul`, which also takes them transposed.

    Attributes:
        coefficients: `(gates, seen, h) -> coefficients`, a tree of arrays.
        source: `(weights, coefficients, seen, dweights, ddrive) -> dh`, linear in the last two.
        propagate: `(weights, coefficients, dseen, dh) -> dh_next`, linear in the last two.
    """

    coefficients: Callable[[PyTree[Array], Array, Array], PyTree[Array]]
    source: Callable[[PyTree[Array], PyTree[Array], Array, PyTree[Array], PyTree[Array]], Array]
    propagate: Callable[[PyTree[Array], PyTree[Array], Array, Array], Array]


class Cell(NamedTuple):
    """A recurrence: what one step computes, and the part of it that needs no state.

    For every cell, `step(params, x, h) == advance(params, project(params, x), h)`.

    Attributes:
        init: `(key, input_size) -> params`.
        input_shape: `(params) -> shape` of one step's input, without batch axes.
        initial_state: `(params, x_shape) -> h`; `x_shape` is one step's `[*batch, input]`.
        step: `(params, x, h) -> h_next`, the textbook form.
        project: `(params, xs) -> drive`, all that needs no `h`, in products over all steps.
        pack: `(params) -> weights`, what acts on `h`, laid out once, before the loop.
        gates: `(weights, drive_t, h) -> gates`, what is computed from the old state.
        mix: `(gates, h) -> h_next`, how the gates make the new state of the old one.
        rule: the derivative as a linear recurrence; None is autodiff through the loop.
        architecture: the cell as data; None if there is no saying it, as with a function for an
            activation. Whoever replaces a function of the cell replaces this, too.
    """

    init: Callable[[Key, int], Params]
    input_shape: Callable[[Params], Shape]
    initial_state: Callable[[Params, Shape], State]
    step: Callable[[Params, Array, State], State]
    project: Callable[[Params, Array], PyTree[Array]]
    pack: Callable[[Params], PyTree[Array]]
    gates: Callable[[PyTree[Array], PyTree[Array], State], PyTree[Array]]
    mix: Callable[[PyTree[Array], State], State]
    rule: Rule | None = None
    architecture: Architecture | None = None

    def advance(self, params: Params, drive_t: PyTree[Array], h: State) -> State:
        """Returns h_t from the drive of step t and h_{t-1}."""
        return self.mix(self.gates(self.pack(params), drive_t, h), h)


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
    h: PyTree[Float[Array, "*batch time hidden"]]
    h_before: PyTree[Float[Array, "*batch time hidden"]]
    x: Float[Array, "*batch time input"]
    valid: Bool[Array, "*batch time"]
    q: Float[Array, "*batch time hidden"] | None = None


@runtime_checkable
class Apply(Protocol):
    """A layer over a whole sequence: `(params, xs, state, ...) -> (ys, state)`.

    `state=None` starts from the initial state. `lengths`, `mask` and `resets` mean what they mean
    in `unroll`. `key` switches on what is random in training; None is evaluation.
    """

    def __call__(
        self,
        params: Params,
        xs: Float[ArrayLike, "*batch time input"],
        state: State | None = None,
        *,
        lengths: Integer[ArrayLike, "*batch"] | None = None,
        mask: Bool[ArrayLike, "*batch time"] | None = None,
        resets: Bool[ArrayLike, "*batch time"] | None = None,
        key: Key | None = None,
    ) -> tuple[Array, State]:
        """Returns the outputs and the state after the sequence."""
        ...


class Layer(NamedTuple):
    """A sequence to a sequence; layers compose with `stack`.

    Attributes:
        init: `(key, input_size) -> params`.
        output_size: `(input_size) -> int`.
        apply: `(params, xs, state=None, *, lengths, mask, resets, key) -> (ys, state)`, as in
            `Apply`.
        initial_state: `(params, x_shape) -> state`; `x_shape` is one step's `[*batch, input]`.
        step: `(params, x, state) -> (y, state)`, one time step, for streaming; in evaluation. It
            knows no boundaries: where a new segment begins, put the state of recurrent layers back
            first, `jnp.where(begins[..., None], initial, h)` for each array h of it, with `initial`
            from `initial_state(params, x.shape)`; where a step is padding, keep the old state.
        trace: called as `apply` is, `-> (ys, tapes)`: a `Trace` of each cell in place of its
            state; None for a layer without gates. Whoever replaces `apply` replaces this, too.
        architecture: the layer as data, as in `Cell`.
    """

    init: Callable[[Key, int], Params]
    output_size: Callable[[int], int]
    apply: Apply
    initial_state: Callable[[Params, Shape], State]
    step: Callable[[Params, Array, State], tuple[Array, State]]
    trace: Apply | None = None
    architecture: Architecture | None = None
