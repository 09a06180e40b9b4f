"""From a sequence to one vector."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gru_jax.architecture import bind, buildable
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import no_params, same_size
from gru_jax.recurrence.boundaries import Boundaries, select
from gru_jax.types import Key, Params, Shape, State, exportable

Kind = Literal["max", "mean", "last"]


@exportable
class PoolState(NamedTuple):
    """The state of `pool`: the running value, and the number of steps so far."""

    value: Float[Array, "*batch features"]
    steps: Int[Array, "*batch"]


@buildable
def pool(kind: Kind = "max") -> Layer:
    """Removes the time axis: one vector for each sequence, from its valid steps only.

    The pool of no steps is zero. Its state makes it exact over chunks and in streaming, where
    `step` returns the pool of the steps so far. It pools over all segments and ignores `resets` and
    its part of `h_reset`.

    Args:
        kind: the "max" or the "mean" of each feature over time, or the "last" step's features.

    Raises:
        ValueError: if `kind` is not one of these.
    """
    if kind not in ("max", "mean", "last"):
        raise ValueError(f'pool: kind must be "max", "mean" or "last", got {kind!r}.')
    return Layer(
        init=no_params,
        output_size=same_size,
        run=bind(_run, kind),
        initial_state=bind(_initial_state, kind),
        advance=bind(_advance, kind),
        ends_time=True,
    )


def _initial_state(kind: Kind, params: Params, x_shape: Shape) -> PoolState:
    del params
    # In the widest enabled dtype, so that sums of many half-precision steps stay accurate.
    value = jnp.full(x_shape, -jnp.inf if kind == "max" else 0.0, float)
    return PoolState(value, jnp.zeros(x_shape[:-1], jnp.int32))


def _run(
    kind: Kind,
    params: Params,
    xs: Array,
    state: PoolState | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, PoolState]:
    del key
    shape = xs.shape[:-1]
    valid = jnp.ones(shape, bool) if boundaries.valid is None else boundaries.valid
    if state is None:
        state = _initial_state(kind, params, (*shape[:-1], xs.shape[-1]))
    value, steps = state
    wide = xs.astype(value.dtype)
    steps = steps + valid.sum(-1, dtype=steps.dtype)
    if kind == "max":
        value = jnp.maximum(value, select(valid, wide, -jnp.inf).max(-2, initial=-jnp.inf))
        pooled = select(steps > 0, value, 0)
    elif kind == "mean":
        value = value + select(valid, wide, 0).sum(-2)
        count = jnp.maximum(steps, 1).astype(value.dtype)
        pooled = value / count[..., None]
    else:
        t = jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
        last = select(valid, t, -1).max(-1, initial=-1)
        newest = select(t == last[..., None], wide, 0).sum(-2)
        value = pooled = select(last >= 0, newest, value)
    return pooled.astype(xs.dtype), PoolState(value, steps)


def _advance(
    kind: Kind, params: Params, x: Array, state: State, boundaries: Boundaries
) -> tuple[Array, State]:
    valid = None if boundaries.valid is None else boundaries.valid[..., None]
    return _run(kind, params, x[..., None, :], state, Boundaries(valid), None)
