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
    without `h0`, and from every reset without `h_reset`. Along an axis of any size, as of an image,
    the state is the same everywhere: the parameter has size 1 there.

    Args:
        cell: the recurrence, e.g. `gru(64)`.

    Returns:
        The cell; its parameters are `LearnedInitialStateParams`.

    Raises:
        ValueError: if `cell` is not a cell.
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
    return LearnedInitialStateParams(params, cell.initial_state(params, _small(axes, input_size)))


def _small(axes: tuple[int | None, ...], input_size: int) -> Shape:
    """Returns the shape of one step's input with size 1 along its axes of any size."""
    return (input_size,) if axes == (None,) else tuple(size or 1 for size in axes)


def _input(cell: Cell, params: LearnedInitialStateParams) -> Input:
    needed = "learned_initial_state: params must be LearnedInitialStateParams"
    check_kind(needed, params, LearnedInitialStateParams)
    if cell.input:
        return cell.input(params.cell)
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params.cell)]
    return Input(dtype=dtypes[0] if dtypes else None)


def _initial_state(cell: Cell, params: LearnedInitialStateParams, x_shape: Shape) -> State:
    axes = _input(cell, params).shape
    small = _small(axes, x_shape[-1] if x_shape else 0)
    own, like = (
        jax.eval_shape(lambda p, shape=shape: cell.initial_state(p, shape), params.cell)
        for shape in (x_shape, small)
    )
    needed, got = (
        jax.tree.map(lambda leaf: f"{leaf.shape} {leaf.dtype}", h) for h in (like, params.h0)
    )
    if needed != got:
        raise ValueError(
            f"learned_initial_state: params.h0 must be {needed} to match the cell, got {got}."
        )
    for free, one in zip(*map(jax.tree.leaves, (own, like)), strict=True):
        sizes = zip(free.shape[::-1], one.shape[::-1], strict=False)  # without batch axes
        if free.ndim < one.ndim or any(size not in (actual, 1) for actual, size in sizes):
            raise ValueError(
                "learned_initial_state: cell must have a state whose axes have the sizes of its "
                f"input's axes, got {free.shape}, and {one.shape} where the input has sizes of 1."
            )
    # Copies even without batch axes: callers may donate the state, but not the parameters.
    return jax.tree.map(lambda h, own: jnp.array(jnp.broadcast_to(h, own.shape)), params.h0, own)
