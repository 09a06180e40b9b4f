"""From a sequence to one vector."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gru_jax.architecture import describe
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.checks import valid_steps
from gru_jax.types import Layer, Params, Shape, State, exportable


@exportable
class PoolState(NamedTuple):
    """What `pool` has seen so far: the running value and the number of steps in it."""

    value: Float[Array, "*batch features"]
    steps: Int[Array, "*batch"]


def pool(kind: Literal["max", "mean", "last"] = "max") -> Layer:
    """Ends the time axis: one vector for each sequence, from its valid steps alone.

    Over no step at all it is zero. Its state makes it exact over chunks and in streaming, where
    `step` returns the pool of the steps so far. It pools over all segments: `resets` part none.

    Args:
        kind: the "max" or the "mean" of each feature over time, or the "last" step's features.

    Raises:
        ValueError: if `kind` is another word.
    """
    if kind not in ("max", "mean", "last"):
        raise ValueError(f'pool: kind must be "max", "mean" or "last", got {kind!r}.')

    def initial_state(_: Params, x_shape: Shape) -> PoolState:
        # In the widest dtype at hand, so that sums of many half-precision steps stay right.
        value = jnp.full(x_shape, -jnp.inf if kind == "max" else 0.0)
        return PoolState(value, jnp.zeros(x_shape[:-1], jnp.int32))

    def apply(params, xs, state=None, *, lengths=None, mask=None, resets=None, key=None):
        del params, resets, key
        xs = jnp.asarray(xs)
        shape = xs.shape[:-1]
        valid = valid_steps("pool", shape, len(shape) - 1, lengths, mask)
        valid = jnp.ones(shape, bool) if valid is None else valid
        value, steps = initial_state((), (*shape[:-1], xs.shape[-1])) if state is None else state
        wide = xs.astype(value.dtype)
        steps = steps + valid.sum(-1, dtype=steps.dtype)
        if kind == "max":
            wide = select(valid, wide, -jnp.inf)
            value = jnp.maximum(value, wide.max(-2, initial=-jnp.inf))
            pooled = select(steps > 0, value, 0)
        elif kind == "mean":
            value = value + select(valid, wide, 0).sum(-2)
            pooled = value / jnp.maximum(steps, 1)[..., None]
        else:
            t = jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
            last = select(valid, t, -1).max(-1, initial=-1)
            newest = select(t == last[..., None], wide, 0).sum(-2)
            value = pooled = select(last >= 0, newest, value)
        return pooled.astype(xs.dtype), PoolState(value, steps)

    def step(params: Params, x: Array, state: State) -> tuple[Array, State]:
        return apply(params, x[..., None, :], state)

    return Layer(
        init=lambda *_: (),
        output_size=lambda size: size,
        apply=apply,
        initial_state=initial_state,
        step=step,
        architecture=describe("pool", kind=kind),
    )
