"""One training step: differentiate the loss, move the parameters, or change nothing.

    loss, gradient = value_and_grad(loss_fn)(params, batch, fold_in(key, step))
    params = params + tx.update(gradient)           if all of them are finite
    params = params                                 if one is not

A loop stops at the first step that is not finite, and keeps the last good parameters.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from gru_jax.training.checks import (
    check_loss,
    check_metrics,
    check_optimizer,
    describe,
    is_key,
    is_number,
)
from gru_jax.types import Key, Params, State

Metrics: TypeAlias = dict[str, Array]
LossFn: TypeAlias = Callable[[Params, Any, Key], tuple[Float[Array, ""], Metrics]]
"""`(params, batch, key) -> (loss, metrics)`: a scalar, and scalars by name (`{}` for none)."""

_differentiating: ContextVar[bool] = ContextVar("differentiating", default=False)


class TrainState(NamedTuple):
    """All that a training step reads and writes."""

    params: Params
    opt_state: optax.OptState
    step: Int[Array, ""]
    """The number of steps taken."""
    key: Key
    """Each step folds its number into this key, so a resumed run draws the same numbers."""
    carry: State = ()
    """The recurrent state that `make_truncated_step` carries from chunk to chunk."""


TrainStep: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
"""`(state, batch) -> (state, metrics)`; one metric is `finite`: False if the state is unchanged."""


def is_differentiating() -> bool:
    """Returns True while a training step traces its loss function, else False.

    Layers ask it to refuse a missing key: without one, they would train without their dropout. A
    function that was compiled outside the step is not traced again, so it does not check again.
    """
    return _differentiating.get()


def init_train_state(
    key: Key, params: Params, tx: optax.GradientTransformation, carry: State = ()
) -> TrainState:
    """Returns the state before the first step; it owns its buffers, so they can be donated.

    Args:
        key: the key of all randomness in training.
        params: a tree of floating-point arrays.
        tx: the optimiser.
        carry: for `make_truncated_step`, the recurrent state before the first chunk.

    Raises:
        ValueError: if an argument has the wrong type, e.g. if two are swapped.
    """
    if not is_key(key):
        raise ValueError(
            "init_train_state: key must be a key, e.g. jax.random.key(0), got "
            f"{describe(key)}; the order is key, params, tx."
        )
    leaves = jax.tree.leaves(params)
    if not leaves or not all(is_number(leaf, jnp.inexact) for leaf in leaves):
        raise ValueError(
            "init_train_state: params must be a tree of floating-point arrays, got "
            f"{describe(params)}; the order is key, params, tx."
        )
    check_optimizer("init_train_state", tx)
    state = TrainState(params, tx.init(params), jnp.zeros((), jnp.int32), key, carry)
    return jax.tree.map(jnp.copy, state)


def count_parameters(params: Params) -> int:
    """Returns the number of scalars in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def make_train_step(loss_fn: LossFn, tx: optax.GradientTransformation) -> TrainStep:
    """Builds `step(state, batch) -> (state, metrics)`, pure, to be compiled.

    Args:
        loss_fn: `(params, batch, key) -> (loss, metrics)`; metrics are scalars by name.
        tx: the optimiser.

    Returns:
        The step. It adds `loss`, `grad_norm` and `finite` to the metrics of `loss_fn`. If the loss,
        the gradient or a new parameter is not finite, `finite` is False and the state is unchanged.

    Raises:
        ValueError: if `tx` is not an optimiser; while the step is traced, if `loss_fn` returns
            something else, or a metric with the name of one that the step adds.
    """
    name = "make_train_step"
    check_optimizer(name, tx)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        def loss_and_metrics(params: Params, key: Key) -> tuple[Array, tuple[Metrics, State]]:
            loss, metrics = check_loss(name, loss_fn(params, batch, key))
            return loss, (check_metrics(name, metrics), state.carry)

        return descend(loss_and_metrics, tx, state)

    return train_step


def descend(
    loss_fn: Callable[[Params, Key], tuple[Array, tuple[Metrics, State]]],
    tx: optax.GradientTransformation,
    state: TrainState,
) -> tuple[TrainState, Metrics]:
    """Takes one step down the gradient of `(params, key) -> (loss, (metrics, carry))`."""

    def traced(params: Params, key: Key) -> tuple[Array, tuple[Metrics, State]]:
        token = _differentiating.set(True)
        try:
            return loss_fn(params, key)
        finally:
            _differentiating.reset(token)

    key = jax.random.fold_in(state.key, state.step)
    value_and_grad = jax.value_and_grad(traced, has_aux=True)
    (loss, (metrics, carry)), grads = value_and_grad(state.params, key)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it.
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The squares of half precision overflow.
        wide = jax.tree.map(lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)), grads)
        grad_norm = optax.tree.norm(wide)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    for leaf in jax.tree.leaves(params):
        finite &= jnp.isfinite(leaf).all()
    moved = TrainState(params, opt_state, state.step + 1, state.key, carry)
    kept = optax.tree.where(finite, moved, state)
    return kept, {**metrics, "loss": loss, "grad_norm": grad_norm, "finite": finite}
