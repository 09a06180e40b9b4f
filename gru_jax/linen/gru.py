"""The GRU as a Flax linen module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Integer

from gru_jax import modules
from gru_jax.linen.module import GRUModule
from gru_jax.sequence.checks import Limits
from gru_jax.types import ArrayLike, Shape, State


class GRU(GRUModule, modules.Options):
    """A GRU of one layer or more, in one direction or both.

    `gru.apply(variables, xs)` returns `(ys, h_last)`, and `init` needs an `xs` of the right input
    size. The collection "params" holds `layers_0`, `layers_1`, ...; each of them `forward`, with
    `bidirectional` also `backward`; these W_r, b_r, W_z, b_z, W_c, b_c, with reset="after" also
    b_h. W_* is [input + hidden, hidden]; its first rows act on x.

    A call returns a pair, which Flax's `Sequential` passes on as two arguments: follow it there
    with `lambda ys, h_last: ys`.

    Attributes:
        hidden_size: features of the state, in each direction.

    `gru_jax.modules.Options` and `CellOptions` list all other attributes. In training, dropout and
    the other noise need `rngs={"dropout": key}`.
    """

    hidden_size: int

    def __call__(
        self,
        xs: Float[ArrayLike, "*steps input"],
        *,
        h0: State | None = None,
        lengths: Integer[ArrayLike, "..."] | None = None,
        mask: Bool[ArrayLike, "*steps"] | None = None,
        resets: Bool[ArrayLike, "*steps"] | None = None,
        h_reset: State | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """Runs the layers over sequences.

        Args:
            xs: the inputs, [*batch, time, input]; no batch axis, one, or several.
            h0: the state before the first step, as in `h_last`; None is zeros.
            lengths: [*batch]; steps at and after a sequence's length are padding, where outputs
                are zero and the state stays as it is.
            mask: [*batch, time]; False steps are padding, wherever they stand. With `lengths`,
                both apply.
            resets: [*batch, time]; True steps begin a new segment (an episode): the state is put
                back to `h_reset` before x_t is read.
            h_reset: the state that each new segment begins with, as in `h_last`; None is zeros.
            deterministic: as the attribute; one of the two must be given where anything is random.

        Returns:
            `(ys, h_last)`: the outputs of the last layer and the state after the last valid step,
            [*batch, hidden] or, with `bidirectional`, `gj.Directions(forward, backward)`; of
            several layers a tuple of these, with () for each dropout between them. With
            `carry_first`, `(h_last, ys)`.

        Raises:
            ValueError: if shapes or dtypes do not fit each other, or an option is out of range.
        """
        key = None
        if modules.is_random(self) and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        given = self._params(self, jnp.shape(xs)[-1]), xs, h0, h_reset
        params, xs, h0, h_reset = modules.cast(self.dtype, given)
        limits = Limits(lengths, mask, resets, h_reset)
        return modules.run(self, self.net(), params, xs, h0, limits, key)

    def step(
        self,
        x: Float[ArrayLike, "*batch input"],
        state: State,
        *,
        begins: Bool[ArrayLike, "*batch"] | None = None,
        valid: Bool[ArrayLike, "*batch"] | None = None,
        h_reset: State | None = None,
    ) -> tuple[Any, Any]:
        """Runs one time step, in evaluation: `gru.apply(variables, x, state, method="step")`.

        Args:
            x: one step's input.
            state: from `initial_state`, from the step before, or an `h_last`.
            begins: True rows begin a new segment: their state is put back to `h_reset` before x is
                read.
            valid: False rows are padding: their state stays as it is, and their output is zero.
            h_reset: as in the call.

        Returns:
            `(y, state)`, with `carry_first` `(state, y)`.

        Raises:
            ValueError: with `bidirectional`, which must see the whole sequence first.
        """
        given = self._params(self, jnp.shape(x)[-1]), x, state, h_reset
        params, x, state, h_reset = modules.cast(self.dtype, given)
        results = self.net().step(params, x, state, begins=begins, valid=valid, h_reset=h_reset)
        return modules.in_order(self, *results)

    @nn.nowrap
    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input].

        With dtype=None it is of param_dtype, whatever the inputs will be.
        """

        def begin() -> State:
            params = net.init(jax.random.key(0), x_shape[-1])
            return modules.cast(self.dtype, net.initial_state(params, x_shape))

        net = self.net()
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(begin))
