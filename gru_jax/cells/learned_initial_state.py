"""A cell whose initial state is a parameter."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.architecture import describe
from gru_jax.types import Cell, Key, Params, Shape, State, exportable


@exportable
class LearnedInitialStateParams(NamedTuple):
    """The parameters of a cell, and the state that it begins with, without batch axes."""

    cell: Params
    h0: PyTree[Array]


def learned_initial_state(cell: Cell) -> Cell:
    """Makes a cell's initial state a parameter, the same for all sequences.

    It begins as the cell's own. Gradients reach it from every sequence that is given no `h0`, and
    from every reset that is given no `h_reset`.

    Args:
        cell: the recurrence, e.g. `gru(64)`.

    Returns:
        The cell; its parameters are `LearnedInitialStateParams`.

    Raises:
        ValueError: if `cell` is something else.
    """
    if not isinstance(cell, Cell):
        kind = type(cell).__name__
        raise ValueError(f"learned_initial_state: cell must be a Cell, e.g. gru(64), got a {kind}.")

    def init(key: Key, input_size: int) -> LearnedInitialStateParams:
        params = cell.init(key, input_size)
        return LearnedInitialStateParams(
            params, cell.initial_state(params, cell.input_shape(params))
        )

    def input_shape(params: LearnedInitialStateParams) -> Shape:
        if not isinstance(params, LearnedInitialStateParams):
            raise ValueError(
                "learned_initial_state: params must be LearnedInitialStateParams, "
                f"got a {type(params).__name__}."
            )
        return cell.input_shape(params.cell)

    def initial_state(params: LearnedInitialStateParams, x_shape: Shape) -> State:
        x_axes = len(cell.input_shape(params.cell))
        batch = x_shape[: len(x_shape) - x_axes]
        own = jax.eval_shape(lambda p: cell.initial_state(p, x_shape[len(batch) :]), params.cell)
        needed, got = (
            jax.tree.map(lambda leaf: f"{leaf.shape} {leaf.dtype}", h) for h in (own, params.h0)
        )
        if needed != got:
            raise ValueError(
                f"learned_initial_state: params.h0 must be {needed} to match the cell, got {got}."
            )
        # A copy even where there is no batch axis: a state may be donated, its parameters not.
        return jax.tree.map(lambda h: jnp.array(jnp.broadcast_to(h, (*batch, *h.shape))), params.h0)

    return cell._replace(
        init=init,
        input_shape=input_shape,
        initial_state=initial_state,
        step=_inside(cell.step),
        project=_inside(cell.project),
        pack=_inside(cell.pack),
        architecture=describe("learned_initial_state", cell),
    )


# Cached, so that a loop compiled for one such cell is found again by the next one of its kind.
@lru_cache
def _inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a cell's parameters as one of these."""
    return lambda params, *args: function(params.cell, *args)
