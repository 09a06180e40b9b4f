"""The training loop: many steps inside one compiled scan, and the host loop that feeds it.

    state, batch --train_step--> state, metrics          pure
    state, [steps, batch] --train_loop--> state, ...     jit, scan, buffers donated
    fit                                                  feeds, reports, stops early, saves

A step whose loss, gradient or parameters are not finite changes nothing, and neither do those
after it in the same loop: the parameters kept are the last good ones.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from gru_jax.types import ArrayLike, Key, Params, State

Metrics: TypeAlias = dict[str, Array]
LossFn: TypeAlias = Callable[[Params, Any, Key], tuple[Float[Array, ""], Metrics]]


differentiating: ContextVar[bool] = ContextVar("differentiating", default=False)


def is_differentiating() -> bool:
    """Returns whether a loss that is trained on is being traced."""
    return differentiating.get()


class TrainState(NamedTuple):
    """All that a training step reads and writes."""

    params: Params
    opt_state: optax.OptState
    step: Int[Array, ""]
    """Steps taken."""
    key: Key
    """Each step folds its number into this one, so a resumed run draws what it would have drawn."""


TrainStep: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
Step = TypeVar("Step", bound=Callable[[Any, Any], tuple[Any, Metrics]])
CarryLossFn: TypeAlias = Callable[
    [Params, State, Any, Key], tuple[Float[Array, ""], tuple[Metrics, State]]
]


def init_train_state(key: Key, params: Params, tx: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step; its buffers are its own, free to be donated."""
    state = TrainState(params, tx.init(params), jnp.zeros((), jnp.int32), key)
    return jax.tree.map(jnp.copy, state)


def count_parameters(params: Params) -> int:
    """Returns the number of scalars in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def make_optimizer(
    learning_rate: float,
    *,
    steps: int,
    warmup: float = 0.1,
    clip_norm: float = 1.0,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Builds AdamW with gradient clipping, a linear warm-up and a cosine decay to zero.

    Args:
        learning_rate: at the end of the warm-up.
        steps: of the whole training.
        warmup: share of the steps that the warm-up takes; the first of them has rate zero.
        clip_norm: the gradient's largest norm, over all parameters together.
        weight_decay: decoupled from the gradient.

    For float32 and wider: in float16 Adam's epsilon, 1e-8, is zero.

    Raises:
        ValueError: if `steps` is below 1, or `warmup` is no share.

    References:
        Loshchilov and Hutter (2019), "Decoupled weight decay regularization".
        Pascanu et al. (2013), "On the difficulty of training recurrent neural networks".
    """
    if steps < 1 or not 0 <= warmup <= 1:
        raise ValueError(
            "make_optimizer: steps must be 1 or more and 0 <= warmup <= 1, "
            f"got {steps} and {warmup}."
        )
    warmup_steps = min(round(warmup * steps), steps - 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, steps)
    return optax.chain(
        optax.clip_by_global_norm(clip_norm), optax.adamw(schedule, weight_decay=weight_decay)
    )


def make_train_step(loss_fn: LossFn, tx: optax.GradientTransformation) -> TrainStep:
    """Builds `step(state, batch) -> (state, metrics)`, pure, to be compiled.

    Args:
        loss_fn: `(params, batch, key) -> (loss, metrics)`; metrics are scalars.
        tx: the optimiser.

    Returns:
        The step. Its metrics are those of `loss_fn` and `loss`, `grad_norm` and `finite`; where
        `finite` is False, because the loss, the gradient or the new parameters are not, the state
        comes back as it went in.
    """

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, metrics), grads = value_and_grad(state.params, batch, key)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        for leaf in jax.tree.leaves(params):
            finite &= jnp.isfinite(leaf).all()
        moved = TrainState(params, opt_state, state.step + 1, state.key)
        kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, state)
        return kept, {**metrics, "loss": loss, "grad_norm": grad_norm, "finite": finite}

    return train_step


def make_train_loop(train_step: Step) -> Step:
    """Builds `loop(state, batches) -> (state, metrics)`: a compiled scan over the leading axis.

    The state's buffers are donated: use the one returned. After a step that was not finite, no
    further one is taken; `finite` is False from there on.
    """

    def body(carry: tuple[Any, Array], batch: Any) -> tuple[Any, Metrics]:
        state, finite = carry
        skipped = jax.tree.map(
            lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(train_step, state, batch)[1]
        )
        state, metrics = jax.lax.cond(
            finite, train_step, lambda state, _: (state, skipped), state, batch
        )
        return (state, metrics["finite"]), metrics

    def train_loop(state: Any, batches: Any) -> tuple[Any, Metrics]:
        (state, _), metrics = jax.lax.scan(body, (state, jnp.asarray(True)), batches)
        return state, metrics

    return cast(Step, jax.jit(train_loop, donate_argnums=0))


def make_truncated_step(
    loss_fn: CarryLossFn, tx: optax.GradientTransformation
) -> Callable[[tuple[TrainState, State], Any], tuple[tuple[TrainState, State], Metrics]]:
    """Builds `step((state, carry), batch) -> ((state, carry), metrics)` for truncated BPTT.

    The recurrent state is carried from one chunk of a sequence to the next, the gradient is not.
    With `make_train_loop` and `cut_time` it trains on long sequences, a step for each chunk:

        loop = make_train_loop(make_truncated_step(loss_fn, tx))
        (state, carry), metrics = loop((state, carry), cut_time(batch, 100))

    Args:
        loss_fn: `(params, carry, batch, key) -> (loss, (metrics, carry))`, with the recurrent
            state before the chunk and after it, e.g. a layer's `state`; the first is the layer's
            `initial_state(params, x_shape)`, made anew for each sequence, as the loop donates it.
        tx: the optimiser.

    Returns:
        The step, as from `make_train_step`; where it is not finite the carry, too, stays.

    References:
        Williams and Peng (1990), "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories".
    """

    def step(
        both: tuple[TrainState, State], batch: Any
    ) -> tuple[tuple[TrainState, State], Metrics]:
        state, carry = both

        def loss_from_here(params: Params, batch: Any, key: Key) -> tuple[Array, Any]:
            loss, (metrics, after) = loss_fn(params, jax.lax.stop_gradient(carry), batch, key)
            needed, got = jax.tree.structure(carry), jax.tree.structure(after)
            if needed != got:
                raise ValueError(
                    "make_truncated_step: carry must be what loss_fn returns as carry, "
                    f"{got}, got {needed}."
                )
            return loss, {"metrics": metrics, "carry": after}

        state, found = make_train_step(loss_from_here, tx)(state, batch)
        after, metrics = found.pop("carry"), found.pop("metrics")
        metrics = {**cast(Metrics, metrics), **found}
        kept = jax.tree.map(lambda new, old: jnp.where(metrics["finite"], new, old), after, carry)
        return (state, kept), metrics

    return step


def cut_time(batch: PyTree[ArrayLike], size: int) -> PyTree[Array]:
    """Cuts arrays `[batch, time, ...]` into chunks of `size` steps, `[chunks, batch, size, ...]`.

    What has no time axis, like lengths, does not belong in it: give a mask instead.

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
