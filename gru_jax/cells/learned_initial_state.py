"""A cell with its initial state as a parameter."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.architecture import bind, buildable
from gru_jax.ops.checks import check_kind
from gru_jax.types import Cell, Input, Key, Params, Shape, State, exportable


@exportable
class LearnedInitialStateParams(NamedTuple):
    """The parameters of a cell, and its initial state, without batch axes."""

    cell: Params
    h0: PyTree[Array]


@buildable
def learned_initial_state(cell: Cell) -> Cell:
    """Makes a cell's initial state a parameter, the same for all sequences.

    Its initial value is the cell's own initial state. Its gradient comes from every sequence
    without `h0`, and from every reset without `h_reset`.

    Args:
        cell: the recurrence, e.g. `gru(64)`.

    Returns:
        The cell; its parameters are `LearnedInitialStateParams`.

    Raises:
        ValueError: if `cell` is not a cell; from `init`, if its inputs have axes of any size.
    """
    check_kind("learned_initial_state: cell must be a Cell, e.g. gru(64)", cell, Cell)
    step, fast = bind(_inner, cell.step), cell.fast
    if fast is not None:
        fast = fast._replace(
            step=step if fast.step == cell.step else fast.step,
            project=bind(_inner, fast.project),
            pack=bind(_inner, fast.pack),
            gru=fast.gru and bind(_inner, fast.gru),
        )
    return cell._replace(
        init=bind(_init, cell),
        initial_state=bind(_initial_state, cell),
        step=step,
        fast=fast,
        architecture=None,
        input=bind(_input, cell),
    )


def _inner(function: Callable[..., Any], params: LearnedInitialStateParams, *args: Any) -> Any:
    """Calls a function of the inner cell."""
    return function(params.cell, *args)


def _init(cell: Cell, key: Key, input_size: int) -> LearnedInitialStateParams:
    params = cell.init(key, input_size)
    axes = cell.input(params).shape if cell.input else (None,)
    axes = (input_size,) if axes == (None,) else axes
    shape = tuple(size for size in axes if size is not None)
    if shape != axes:
        raise ValueError(
            "learned_initial_state: cell must have inputs of one size, for its state is an array "
            f"of that size, got axes {axes}, where None is any size."
        )
    return LearnedInitialStateParams(params, cell.initial_state(params, shape))


def _input(cell: Cell, params: LearnedInitialStateParams) -> Input:
    needed = "learned_initial_state: params must be LearnedInitialStateParams"
    check_kind(needed, params, LearnedInitialStateParams)
    if cell.input:
        return cell.input(params.cell)
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params.cell)]
    return Input(dtype=dtypes[0] if dtypes else None)


def _initial_state(cell: Cell, params: LearnedInitialStateParams, x_shape: Shape) -> State:
    axes = len(_input(cell, params).shape)
    batch = x_shape[: len(x_shape) - axes]
    own = jax.eval_shape(lambda p: cell.initial_state(p, x_shape[len(batch) :]), params.cell)
    needed, got = (
        jax.tree.map(lambda leaf: f"{leaf.shape} {leaf.dtype}", h) for h in (own, params.h0)
    )
    if needed != got:
        raise ValueError(
            f"learned_initial_state: params.h0 must be {needed} to match the cell, got {got}."
        )
    # Copies even without batch axes: callers may donate the state, but not the parameters.
    return jax.tree.map(lambda h: jnp.array(jnp.broadcast_to(h, (*batch, *h.shape))), params.h0)
