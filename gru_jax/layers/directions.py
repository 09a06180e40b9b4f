"""Cells as layers, in one direction or in both."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.sequence import unroll
from gru_jax.types import Cell, Key, Layer, Params, Shape, State


def recurrent(cell: Cell, *, reverse: bool = False) -> Layer:
    """Runs a cell over the sequence; parameters and state are the cell's.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        reverse: run from the last step to the first; such a layer cannot stream.
    """

    def output_size(input_size: int) -> int:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
        return jax.eval_shape(lambda p: cell.initial_state(p, (input_size,)), params).shape[-1]

    def apply(params, xs, state=None, *, lengths=None, mask=None, key=None):
        del key
        return unroll(cell, params, xs, state, lengths=lengths, mask=mask, reverse=reverse)

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        if reverse:
            raise _cannot_stream("recurrent(reverse=True)")
        h = cell.step(params, x, state)
        return h, h

    return Layer(cell.init, output_size, apply, cell.initial_state, step)


class Directions(NamedTuple):
    """The parameters, or the states, of a bidirectional layer."""

    forward: Params
    backward: Params


def bidirectional(forward: Cell, backward: Cell | None = None) -> Layer:
    """Runs one cell forward and one backward over the same steps; features are side by side.

    The backward cell starts at the last valid step of each sequence. A layer that reads the
    sequence from its end cannot stream: `step` raises.

    Args:
        forward: the cell that reads from the first step to the last.
        backward: the cell that reads from the last to the first; None is another `forward`.
    """
    ahead, back = recurrent(forward), recurrent(backward or forward, reverse=True)

    def init(key: Key, input_size: int) -> Directions:
        key_ahead, key_back = jax.random.split(key)
        return Directions(ahead.init(key_ahead, input_size), back.init(key_back, input_size))

    def output_size(input_size: int) -> int:
        return ahead.output_size(input_size) + back.output_size(input_size)

    def apply(params, xs, state=None, *, lengths=None, mask=None, key=None):
        del key
        state = Directions(None, None) if state is None else state
        ys_ahead, h_ahead = ahead.apply(
            params.forward, xs, state.forward, lengths=lengths, mask=mask
        )
        ys_back, h_back = back.apply(
            params.backward, xs, state.backward, lengths=lengths, mask=mask
        )
        return jnp.concatenate([ys_ahead, ys_back], -1), Directions(h_ahead, h_back)

    def initial_state(params: Directions, x_shape: Shape) -> Directions:
        return Directions(
            ahead.initial_state(params.forward, x_shape),
            back.initial_state(params.backward, x_shape),
        )

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        del params, x, state
        raise _cannot_stream("bidirectional")

    return Layer(init, output_size, apply, initial_state, step)


def _cannot_stream(layer: str) -> ValueError:
    return ValueError(
        f"{layer}: step must see the whole sequence first, so it cannot stream; use apply."
    )
