"""The GRU as a Flax NNX module."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass
from types import MappingProxyType
from typing import Any

from flax import nnx
from jaxtyping import Bool, Float, Integer

from gru_jax import modules
from gru_jax.nnx.module import GRUModule
from gru_jax.sequence.checks import Limits
from gru_jax.types import ArrayLike, Key, Shape, State


@dataclass(repr=False, eq=False)
class GRU(GRUModule, modules.Options):
    """A GRU of one layer or more, in one direction or both.

    Its `nnx.Param`s are `layers_0`, `layers_1`, ...; each of them holds `forward`, with
    `bidirectional` also `backward`; these W_r, b_r, W_z, b_z, W_c, b_c, with reset="after" also
    b_h: `gru.layers_0.forward.W_r`. W_* is [input + hidden, hidden]; its first rows act on x.

    A call returns a pair, which Flax's `Sequential` passes on as two arguments: follow it there
    with `lambda ys, h_last: ys`.

    Args:
        input_size: features of one step.
        hidden_size: features of the state, in each direction.
        deterministic: as in `gru_jax.modules.Options`, but False; `eval()` and `train()` set it.
        kernel_metadata: more metadata of W_*, as in `nnx.Linear`.
        bias_metadata: more metadata of the biases.
        rngs: an `nnx.Rngs`. "params" draws the parameters; the module keeps a fork of "dropout" if
            anything is random.

    All other arguments are the attributes of `gru_jax.modules.Options` and `CellOptions`.

    Raises:
        ValueError: if an option is out of range.
    """

    input_size: int
    hidden_size: int
    _: KW_ONLY
    deterministic: bool | None = False
    kernel_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    bias_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    rngs: nnx.Rngs | nnx.RngStream | None

    def __post_init__(
        self, kernel_metadata: Mapping[str, Any], bias_metadata: Mapping[str, Any]
    ) -> None:
        """Draws the parameters."""
        rngs = self._draw(self.rngs, kernel_metadata, bias_metadata)
        self.rngs = rngs["dropout"].fork() if modules.is_random(self) else nnx.data(None)

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
        rngs: nnx.Rngs | nnx.RngStream | Key | None = None,
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
            deterministic: goes before the attribute.
            rngs: goes before what the module keeps; an `nnx.Rngs`, one stream of it, or a key.

        Returns:
            `(ys, h_last)`: the outputs of the last layer and the state after the last valid step,
            [*batch, hidden] or, with `bidirectional`, `gj.Directions(forward, backward)`; of
            several layers a tuple of these, with () for each dropout between them. With
            `carry_first`, `(h_last, ys)`.

        Raises:
            ValueError: if shapes or dtypes do not fit each other.
        """
        key = None
        if modules.is_random(self) and not (
            self.deterministic if deterministic is None else deterministic
        ):
            source = self.rngs if rngs is None else rngs
            if source is None:
                raise ValueError(
                    "GRU: rngs must be given in training, for the module was built with nothing "
                    "random and keeps none, got None."
                )
            source = source["dropout"] if isinstance(source, nnx.Rngs) else source
            key = source() if isinstance(source, nnx.RngStream) else source
        net, params = self._run()
        params, xs, h0, h_reset = modules.cast(self.dtype, (params, xs, h0, h_reset))
        limits = Limits(lengths, mask, resets, h_reset)
        return modules.run(self, net, params, xs, h0, limits, key)

    def step(
        self,
        x: Float[ArrayLike, "*batch input"],
        state: State,
        *,
        begins: Bool[ArrayLike, "*batch"] | None = None,
        valid: Bool[ArrayLike, "*batch"] | None = None,
        h_reset: State | None = None,
    ) -> tuple[Any, Any]:
        """Runs one time step, in evaluation.

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
        net, params = self._run()
        params, x, state, h_reset = modules.cast(self.dtype, (params, x, state, h_reset))
        results = net.step(params, x, state, begins=begins, valid=valid, h_reset=h_reset)
        return modules.in_order(self, *results)

    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input].

        With dtype=None it is of param_dtype, whatever the inputs will be.
        """
        net, params = self._run()
        return modules.cast(self.dtype, net.initial_state(params, x_shape))

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view`.

        Args:
            deterministic: True is evaluation, False training.
        """
        if deterministic is not None:
            self.deterministic = deterministic
