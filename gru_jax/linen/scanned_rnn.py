"""The `ScannedRNN` of code for reinforcement learning: a GRU over time, with resets."""

from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.linen.module import GRUModule, unbox
from gru_jax.types import ArrayLike, Cell, Params


class ScannedRNN(GRUModule, modules.ScanOptions):
    """A GRU over time, the first axis, with resets: Flax's `GRUCell` in `nn.scan`.

        carry = ScannedRNN.initialize_carry(batch_size, hidden_size)
        carry, ys = ScannedRNN()(carry, (ins, resets))

    It replaces the class of this name in purejaxrl, JaxMARL, Mava and Stoix. It has gru_jax's
    derivative and kernel, and copies nothing to another layout. Its variables are those of
    `GRU(features, reset="after")`.

    Attributes:
        features: of the state; None is the size of the last axis of `ins`. `net` needs a number.

    `gru_jax.modules.CellOptions` lists all other attributes. `reset` is "after" and `kernel_init`
    is `lecun_normal`, as in Flax's `GRUCell`.
    """

    features: int | None = None

    @property
    def hidden_size(self) -> int | None:
        """Returns `features`."""
        return self.features

    def __call__(
        self,
        carry: Float[ArrayLike, "*batch hidden"],
        x: tuple[Shaped[ArrayLike, "time ..."], Shaped[ArrayLike, "time ..."]],
    ) -> tuple[Float[Array, "*batch hidden"], Float[Array, "time *batch hidden"]]:
        """Runs the GRU over some steps; one step is `(ins[None], resets[None])`.

        Args:
            carry: the state before the first step.
            x: the pair `(ins, resets)`, [time, *batch, input] and [time, *batch]. Where `resets` is
                True, or a number that is not 0, the state is put back to zeros before the step is
                read.

        Returns:
            `(carry, ys)`: the state after the last step, and after each step.

        Raises:
            ValueError: if shapes or dtypes do not fit each other, or an option is out of range.
        """
        carry, ins, resets, size = modules.check_scan(carry, x, self.features)
        options = self._sized(size)
        params = self._params(options, ins.shape[-1])
        return modules.scan(options, unbox, params, carry, ins, resets)

    initialize_carry = staticmethod(modules.initialize_carry)

    @nn.nowrap
    def variables_from(self, net: Cell | Layer, params: Params) -> dict[str, Any]:
        """Returns this module's variables, {"params": ...}, from a net and its parameters.

        For a trained `ScannedRNN` of Flax's `GRUCell` with the variables `theirs`:
        `rnn.variables_from(*interop.from_linen(None, theirs))`.

        Raises:
            ValueError: if this module would compute something else with them.
        """
        options = self._sized(jax.tree.leaves(params)[0].shape[-1])
        return {"params": modules.name_params(options, options.net(), net, params)}

    @nn.nowrap
    def _sized(self, features: int) -> "ScannedRNN":
        """Returns this module, or an equal one with the number of features that it lacks."""
        if self.features is not None:
            return self
        return self.clone(features=features, parent=None)
