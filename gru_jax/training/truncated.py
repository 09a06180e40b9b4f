"""Truncated backpropagation through time: a long sequence, chunk by chunk.

    [batch, time, ...] --cut_time--> [chunks, batch, size, ...]

    chunk 1 --carry--> chunk 2 --carry--> chunk 3       the state goes on
       |                  |                  |
     step 1             step 2             step 3       the gradient stays in its chunk

The memory needed is that for one chunk, however long the sequence.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from gru_jax.training.checks import check_loss, check_metrics, check_optimizer, check_same, describe
from gru_jax.training.step import Metrics, TrainState, TrainStep, descend
from gru_jax.types import ArrayLike, Key, Params, State

CarryLossFn: TypeAlias = Callable[
    [Params, State, Any, Key], tuple[Float[Array, ""], tuple[Metrics, State]]
]
"""`(params, carry, batch, key) -> (loss, (metrics, carry))`."""


def make_truncated_step(loss_fn: CarryLossFn, tx: optax.GradientTransformation) -> TrainStep:
    """Builds `step(state, batch) -> (state, metrics)` for truncated BPTT.

    The recurrent state is carried from one chunk of a sequence to the next, in `state.carry`; the
    gradient is not. With `make_train_loop` and `cut_time` it trains on long sequences, with one
    step for each chunk:

        state = init_train_state(key, params, tx, carry)
        loop = make_train_loop(make_truncated_step(loss_fn, tx))
        state, metrics = loop(state, cut_time(batch, 100))

    Args:
        loss_fn: `(params, carry, batch, key) -> (loss, (metrics, carry))`, where `carry` is the
            recurrent state before and after the chunk, e.g. a layer's `state`. The first is the
            layer's `initial_state(params, x_shape)`. Another sequence begins with
            `state._replace(carry=...)`, with one created anew, because the loop donates it.
        tx: the optimiser.

    Returns:
        The step, as from `make_train_step`. If it is not finite, the carry, too, is unchanged.

    Raises:
        ValueError: as `make_train_step` does, and if `loss_fn` returns a different kind of carry
            than it takes.

    References:
        Williams and Peng (1990), "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories".
    """
    name = "make_truncated_step"
    check_optimizer(name, tx)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        carry = state.carry

        def loss_from_here(params: Params, key: Key) -> tuple[Array, tuple[Metrics, State]]:
            result = loss_fn(params, jax.lax.stop_gradient(carry), batch, key)
            loss, rest = check_loss(name, result)
            if not (isinstance(rest, tuple) and len(rest) == 2):
                raise ValueError(
                    f"{name}: loss_fn must return (loss, (metrics, carry)), "
                    f"got {describe(rest)} in place of (metrics, carry)."
                )
            metrics, new_carry = check_metrics(name, rest[0]), rest[1]
            check_same(f"{name}: loss_fn must return the carry as it came", carry, new_carry)
            return loss, (metrics, new_carry)

        return descend(loss_from_here, tx, state)

    return step


def cut_time(batch: PyTree[ArrayLike], size: int) -> PyTree[Array]:
    """Cuts arrays `[batch, time, ...]` into chunks of `size` steps, `[chunks, batch, size, ...]`.

    Arrays without a time axis, like lengths, cannot be cut: give a mask instead.

    Raises:
        ValueError: unless `size` divides the number of steps.
    """

    def cut(a: ArrayLike) -> Array:
        if size < 1 or a.ndim < 2 or a.shape[1] % size:
            raise ValueError(
                "cut_time: batch must hold arrays [batch, time, ...] and size divide their steps, "
                f"got {a.shape} and {size}."
            )
        return jnp.moveaxis(a.reshape(a.shape[0], -1, size, *a.shape[2:]), 1, 0)

    return jax.tree.map(cut, batch)
