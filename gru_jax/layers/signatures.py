"""The signatures of a layer's `apply` and `step`."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Integer, Shaped

from gru_jax.types import ArrayLike, Key, Params, State


class Omitted:
    """The placeholder for an omitted key; an explicit None means evaluation."""

    def __repr__(self) -> str:
        """Returns what an omitted key means."""
        return "None"


OMITTED: Any = Omitted()


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
        h_reset: State | None = None,
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
            h_reset: the state that each new segment begins with, of the same form as `state`; None
                is the initial state.
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
        h_reset: State | None = None,
    ) -> tuple[Array, State]:
        """Returns the output and the state after the step.

        Args:
            params: the layer's parameters.
            x: one step's input, `[*batch, input]`.
            state: from `initial_state`, from the previous step, or from `apply`.
            begins: True rows begin a new segment (an episode): recurrent states are set to
                `h_reset` before x is read.
            valid: False rows are padding: their state is unchanged. Their output is zero; from a
                `pool` onwards it is the output of the steps so far.
            h_reset: as in `apply`.

        Raises:
            ValueError: if an argument does not match the others, or the layer cannot stream.
        """
        ...
