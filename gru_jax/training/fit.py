"""The host loop around the compiled one: it feeds, validates, reports, stops early and saves."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.training.step import TrainState, TrainStep
from gru_jax.types import Params

Row: TypeAlias = dict[str, float]
Ended: TypeAlias = Literal["epochs", "patience", "stopped", "not finite"]


class Progress(NamedTuple):
    """Where a training run stands: all that going on with it needs."""

    state: TrainState
    best_params: Params
    best_value: Array | float = math.inf
    best_epoch: Array | int = 0
    epoch: Array | int = 0
    """Epochs finished."""


def init_progress(state: TrainState) -> Progress:
    """Returns the progress of a run that has not begun."""
    return Progress(state, state.params)


def fit(
    progress: Progress,
    train_loop: TrainStep,
    epoch_batches: Callable[[int], Iterable[Any]],
    validate: Callable[[Params], Row],
    *,
    epochs: int,
    monitor: str = "loss",
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    report: Callable[[Row], None] = lambda _: None,
    save: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Progress, Ended]:
    """Trains for some epochs; keeps the parameters that validate best.

    Stopping and going on from the progress that came back gives the same bits as not stopping.

    Args:
        progress: from `init_progress`, or one that came back or was saved.
        train_loop: from `make_train_loop`.
        epoch_batches: `(epoch) -> batches`, each with a leading axis of steps, epochs from 0.
        validate: `(params) -> row` of numbers.
        monitor: the one of them that tells the best parameters; of equals the newest.
        mode: whether its lowest ("min") or its highest ("max") is the best.
        epochs: to train in all, those of `progress` counted in.
        patience: epochs without a value as low after which training stops; None never stops.
        report: takes a row of numbers after each epoch: "epoch", "step", "seconds", the means of
            the training metrics, and those of `validate` with "validation_" before their names.
        save: takes the progress after each epoch.
        should_stop: asked after each call of the loop; True leaves the epoch that has begun and
            returns the progress before it.

    Returns:
        The progress, and why training ended: "epochs", "patience", "stopped", or "not finite" (a
        step, or the monitored number), and then `progress.state` holds the last good parameters and
        the number of steps taken.

    Raises:
        ValueError: if an epoch has no batch.
    """
    while progress.epoch < epochs:
        if patience is not None and progress.epoch - progress.best_epoch >= patience:
            return progress, "patience"
        start, rows, state = time.perf_counter(), [], jax.tree.map(jnp.copy, progress.state)
        for batches in epoch_batches(int(progress.epoch)):
            state, metrics = train_loop(state, batches)
            if not metrics.pop("finite").all():
                return progress._replace(state=state), "not finite"
            rows.append(jax.tree.map(np.asarray, metrics))
            if should_stop():
                return progress, "stopped"
        if not rows:
            raise ValueError(f"fit: epoch_batches({int(progress.epoch)}) must yield a batch.")
        validation = validate(state.params)
        if not math.isfinite(validation[monitor]):
            return progress, "not finite"
        epoch = int(progress.epoch) + 1
        progress = progress._replace(state=state, epoch=epoch)
        value, sign = validation[monitor], -1 if mode == "max" else 1
        if not progress.best_epoch or sign * value <= sign * progress.best_value:
            progress = progress._replace(
                best_params=state.params, best_value=value, best_epoch=epoch
            )
        means = {k: float(np.concatenate([row[k] for row in rows]).mean()) for k in rows[0]}
        seconds = time.perf_counter() - start
        report(
            {"epoch": epoch, "step": int(state.step), "seconds": seconds, **means}
            | {f"validation_{name}": value for name, value in validation.items()}
        )
        save(progress)
    return progress, "epochs"
