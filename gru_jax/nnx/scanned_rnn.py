"""The `ScannedRNN` of code for reinforcement learning: a GRU over time, with resets."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass
from types import MappingProxyType
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Shaped

from gru_jax import modules
from gru_jax.nnx.module import GRUModule, unbox
from gru_jax.types import ArrayLike


@dataclass(repr=False, eq=False)
class ScannedRNN(GRUModule, modules.ScanOptions):
    """A GRU over time, the first axis, with resets: Flax's `GRUCell` in a scan.

        rnn = ScannedRNN(input_size, features, rngs=rngs)
        carry = ScannedRNN.initialize_carry(batch_size, features)
        carry, ys = rnn(carry, (ins, resets))

    It is `gru_jax.linen.ScannedRNN` in nnx. Its parameters are those of
    `GRU(input_size, features, reset="after")`; `set_params` takes those of Flax's cell.

    Args:
        input_size: features of one step.
        features: of the state.
        kernel_metadata: more metadata of W_*, as in `nnx.Linear`.
        bias_metadata: more metadata of the biases.
        rngs: an `nnx.Rngs`. "params" draws the parameters.

    All other arguments are the attributes of `gru_jax.modules.CellOptions`. `reset` is "after" and
    `kernel_init` is `lecun_normal`, as in Flax's `GRUCell`.

    Raises:
        ValueError: if an option is out of range.
    """

    input_size: int
    features: int
    _: KW_ONLY
    kernel_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    bias_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    rngs: InitVar[nnx.Rngs]

    def __post_init__(
        self,
        kernel_metadata: Mapping[str, Any],
        bias_metadata: Mapping[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the parameters."""
        self._draw(rngs, kernel_metadata, bias_metadata)

    @property
    def hidden_size(self) -> int:
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
            ValueError: if shapes or dtypes do not fit each other.
        """
        carry, ins, resets, _ = modules.check_scan(carry, x, self.features, self.input_size)
        return modules.scan(self, unbox, self._run()[1], carry, ins, resets)

    initialize_carry = staticmethod(modules.initialize_carry)
