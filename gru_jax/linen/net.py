"""Any layer as a Flax linen module."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Integer

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_kind
from gru_jax.sequence.checks import Limits
from gru_jax.types import ArrayLike, Params, Shape, State


class Net(nn.Module):
    """Any gru_jax layer as a module, e.g. `Net(gj.recurrent(gj.conv_gru(32)))`.

    The collection "params" holds one entry, `net`: the layer's own parameters.

    Attributes:
        layer: the layer.
        input_size: the argument of `layer.init`; None is the size of the inputs' last axis.
        deterministic: True is evaluation. It or the argument must be given if the layer is random,
            whose noise needs `rngs={"dropout": key}`.
        time_axis: the time axis of `xs`, `mask`, `resets` and `ys`, as in `gj.unroll`.
        carry_first: True returns `(state, ys)`, and `(state, y)` from `step`.
    """

    layer: Layer
    input_size: int | None = None
    deterministic: bool | None = None
    time_axis: int | None = None
    carry_first: bool = False

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
        params, key = self._params(jnp.shape(xs)), None
        if self.layer.random and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        limits = Limits(lengths, mask, resets, h_reset)
        return modules.run(self, self.layer, params, xs, state, limits, key)

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
        params = self._params(jnp.shape(x))
        limits: Any = {"begins": begins, "valid": valid, "h_reset": h_reset}
        return modules.in_order(self, *self.layer.step(params, x, state, **limits))

    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input]."""
        return self.layer.initial_state(self._params(x_shape), x_shape)

    @nn.compact
    def _params(self, shape: Shape) -> Params:
        check_kind("Net: layer must be a Layer, e.g. recurrent(cell)", self.layer, Layer)
        size = shape[-1] if self.input_size is None else self.input_size
        return self.param("net", self.layer.init, size)
