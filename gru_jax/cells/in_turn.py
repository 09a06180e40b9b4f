"""Several cells in turn within one time step: the state passes through each of them.

    h <- step_1(x, h);  h <- step_2(x, h);  ...

The derivative of a step is the chain of the cells' derivatives, still one linear recurrence.
"""

from functools import partial
from typing import Any

import jax
from jaxtyping import Array, PyTree

from gru_jax.architecture import bind
from gru_jax.types import Cell, Fast, Input, Key, LinearRecurrence, Params, Shape

Fasts = tuple[Fast, ...]


def in_turn(*cells: Cell) -> Cell:
    """Builds a cell that applies cells in turn; the parameters are a tuple, one entry a cell.

    The cells read the same inputs, have states of one shape, and have `fast` and `input`.
    """
    fasts = tuple(cell.fast for cell in cells if cell.fast)
    one_step = bind(step, cells)
    has_rule = all(fast.derivative for fast in fasts)
    return Cell(
        init=bind(init, cells),
        initial_state=bind(initial_state, cells[0]),
        step=one_step,
        fast=Fast(
            step=one_step,
            project=bind(project, fasts),
            pack=bind(pack, fasts),
            gates=bind(gates, fasts),
            mix=bind(mix, fasts),
            derivative=LinearRecurrence(
                bind(coefficients, fasts), bind(source, fasts), bind(propagate, fasts)
            )
            if has_rule
            else None,
        ),
        input=bind(check_params, cells),
    )


def init(cells: tuple[Cell, ...], key: Key, input_size: int) -> tuple[Params, ...]:
    """Returns the initial parameters of each cell."""
    keys = jax.random.split(key, len(cells))
    return tuple(cell.init(key, input_size) for cell, key in zip(cells, keys, strict=True))


def initial_state(cell: Cell, params: tuple[Params, ...], x_shape: Shape) -> Array:
    """Returns the first cell's initial state."""
    return cell.initial_state(params[0], x_shape)


def check_params(cells: tuple[Cell, ...], params: Params) -> Input:
    """Returns one step's `Input`; raises unless each cell's parameters fit it, and each other."""
    if not isinstance(params, tuple) or hasattr(params, "_fields") or len(params) != len(cells):
        raise ValueError(
            f"conv_gru: params must be a tuple of {len(cells)} ConvGRUParams, one for each kernel, "
            f"got {type(params).__name__}."
        )
    inputs = [cell.input(own) for cell, own in zip(cells, params, strict=True) if cell.input]
    for i, other in enumerate(inputs):
        if other != inputs[0]:
            raise ValueError(
                f"conv_gru: params[{i}] must read inputs of {inputs[0].shape}, as params[0], "
                f"got {other.shape}, where None is any size."
            )
    return inputs[0]


def step(cells: tuple[Cell, ...], params: tuple[Params, ...], x: Array, h: Array) -> Array:
    """Returns h_t from x_t and h_{t-1}."""
    for cell, own in zip(cells, params, strict=True):
        h = cell.step(own, x, h)
    return h


def project(fasts: Fasts, params: tuple[Params, ...], xs: Array) -> tuple[PyTree[Array], ...]:
    """Returns each cell's drive."""
    return tuple(fast.project(own, xs) for fast, own in zip(fasts, params, strict=True))


def pack(fasts: Fasts, params: tuple[Params, ...], x_shape: Shape) -> tuple[PyTree[Array], ...]:
    """Returns each cell's weights."""
    return tuple(fast.pack(own, x_shape) for fast, own in zip(fasts, params, strict=True))


def gates(fasts: Fasts, weights: Any, drive: Any, h: Array) -> tuple[PyTree[Array], ...]:
    """Returns each cell's gates."""
    values = []
    for fast, own, drive_t in zip(fasts, weights, drive, strict=True):
        values.append(fast.gates(own, drive_t, h))
        h = fast.mix(values[-1], h)
    return tuple(values)


def mix(fasts: Fasts, gates: Any, h: Array) -> Array:
    """Returns h_t from the gates and h_{t-1}."""
    for fast, own in zip(fasts, gates, strict=True):
        h = fast.mix(own, h)
    return h


def coefficients(fasts: Fasts, gates: Any, seen: Array, h: Array) -> tuple[Any, ...]:
    """Returns each cell's coefficients for the tangent of h and of `seen`, and `seen` itself.

    h and `seen` differ only under recurrent dropout. Otherwise they are one object, and the second
    entry is None.
    """
    values = []
    for fast, own in zip(fasts, gates, strict=True):
        of = _rule(fast).coefficients
        values.append((of(own, seen, h), None if seen is h else of(own, seen, seen), seen))
        if seen is h:
            seen = h = fast.mix(own, h)
        else:
            seen, h = fast.mix(own, seen), fast.mix(own, h)
    return tuple(values)


def source(fasts: Fasts, weights: Any, k: Any, seen: Array, dweights: Any, ddrive: Any) -> Array:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    del seen
    return _chain(fasts, weights, k, None, None, tuple(zip(dweights, ddrive, strict=True)))


def propagate(fasts: Fasts, weights: Any, k: Any, dseen: Array, dh: Array) -> Array:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    return _chain(fasts, weights, k, dseen, dh, (None,) * len(fasts))


def _chain(
    fasts: Fasts,
    weights: Any,
    k: Any,
    dseen: Array | None,
    dh: Array | None,
    changes: tuple[Any, ...],
) -> Any:
    """Returns dh after the last cell, from dh before the first and the changes of the weights."""
    for fast, own, (k_h, k_seen, seen), change in zip(fasts, weights, k, changes, strict=True):
        one = partial(_tangent, _rule(fast), own, seen, change)
        dh_next = one(k_h, dseen, dh)
        dseen = dh_next if k_seen is None else one(k_seen, dseen, dseen)
        dh = dh_next
    return dh


def _tangent(
    rule: LinearRecurrence,
    weights: Any,
    seen: Array,
    change: Any,
    k: Any,
    dseen: Array | None,
    dh: Array | None,
) -> Array:
    """Returns dh after one cell; a tangent of None means zero."""
    parts = []
    if dseen is not None and dh is not None:
        parts.append(rule.propagate(weights, k, dseen, dh))
    if change is not None:
        parts.append(rule.source(weights, k, seen, *change))
    return sum(parts[1:], parts[0])


def _rule(fast: Fast) -> LinearRecurrence:
    assert fast.derivative is not None
    return fast.derivative
