"""Any layer as a Flax NNX module."""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Bool, Integer

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_kind
from gru_jax.sequence.checks import Limits
from gru_jax.types import ArrayLike, Params, Shape, State


class Net(nnx.Module):
    """Any gru_jax layer as a module, e.g. `Net(gj.recurrent(gj.conv_gru(32)), 3, rngs=rngs)`.

    `net.params` holds the layer's own parameters as `nnx.Param`s.

    Args:
        layer: the layer.
        input_size: the argument of `layer.init`.
        deterministic: True is evaluation; `eval()` and `train()` set it.
        time_axis: the time axis of `xs`, `mask`, `resets` and `ys`, as in `gj.unroll`.
        carry_first: True returns `(state, ys)`, and `(state, y)` from `step`.
        rngs: "params" draws the parameters; the module keeps a fork of "dropout" if the layer is
            random.
    """

    def __init__(
        self,
        layer: Layer,
        input_size: int,
        *,
        deterministic: bool = False,
        time_axis: int | None = None,
        carry_first: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the parameters."""
        check_kind("Net: layer must be a Layer, e.g. recurrent(cell)", layer, Layer)
        self.layer, self.deterministic = layer, deterministic
        self.time_axis, self.carry_first = time_axis, carry_first
        self.params = nnx.data(jax.tree.map(nnx.Param, layer.init(rngs.params(), input_size)))
        self.rngs = rngs["dropout"].fork() if layer.random else nnx.data(None)

    def __call__(
        self,
        xs: ArrayLike,
        state: State | None = None,
        *,
        lengths: Integer[ArrayLike, "..."] | None = None,
        mask: Bool[ArrayLike, "*steps"] | None = None,
        resets: Bool[ArrayLike, "*steps"] | None = None,
        h_reset: State | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """Runs the layer over sequences: `layer.apply`, with its arguments and results."""
        key = None
        if self.rngs is not None and not (
            self.deterministic if deterministic is None else deterministic
        ):
            key = self.rngs()
        limits = Limits(lengths, mask, resets, h_reset)
        return modules.run(self, self.layer, self.raw_params(), xs, state, limits, key)

    def step(
        self,
        x: ArrayLike,
        state: State,
        *,
        begins: Bool[ArrayLike, "*batch"] | None = None,
        valid: Bool[ArrayLike, "*batch"] | None = None,
        h_reset: State | None = None,
    ) -> tuple[Any, Any]:
        """Runs one time step, in evaluation: `layer.step`, with its arguments and results."""
        limits: Any = {"begins": begins, "valid": valid, "h_reset": h_reset}
        return modules.in_order(self, *self.layer.step(self.raw_params(), x, state, **limits))

    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input]."""
        return self.layer.initial_state(self.raw_params(), x_shape)

    def raw_params(self) -> Params:
        """Returns the layer's parameters as arrays, e.g. for `gj.trace` and `gj.save`."""
        return jax.tree.map(
            lambda p: p[...], self.params, is_leaf=lambda p: isinstance(p, nnx.Param)
        )
