"""Training from beginning to end, on the host.

    for each epoch:   batches -> train_loop -> validate -> keep the best -> report -> save

It ends after the last epoch, without improvement (`patience`), on request, or at a number that is
not finite.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.training.checks import check_live, describe, is_scalar
from gru_jax.training.step import TrainState, TrainStep
from gru_jax.types import Params

Row: TypeAlias = dict[str, float]
StopReason: TypeAlias = Literal["epochs", "patience", "stopped", "not finite"]


class Progress(NamedTuple):
    """The state of a training run between two epochs, complete for resuming."""

    state: TrainState
    best_params: Params
    best_value: Array | float = math.inf
    best_epoch: Array | int = 0
    """0 before the first epoch; `best_value` then has no meaning."""
    epoch: Array | int = 0
    """Finished epochs."""


def init_progress(state: TrainState) -> Progress:
    """Returns the progress of a new run; raises ValueError unless `state` is a TrainState."""
    if not isinstance(state, TrainState):
        raise ValueError(
            f"init_progress: state must be a TrainState, from init_train_state, got "
            f"{type(state).__name__}."
        )
    return Progress(state, state.params)


def fit(
    progress: Progress,
    train_loop: TrainStep,
    epoch_batches: Callable[[int], Iterable[Any]],
    validate: Callable[[Params], Row],
    *,
    epochs: int,
    monitor: str = "loss",
    mode: Literal["min", "max"] | None = None,
    patience: int | None = None,
    report: Callable[[Row], None] = lambda _: None,
    save: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Progress, StopReason]:
    """Trains for some epochs and keeps the parameters that validate best.

    Training that stops, and resumes from the returned progress, gives the same bits as training
    that does not stop.

    Args:
        progress: from `init_progress`, an earlier `fit` or a checkpoint.
        train_loop: from `make_train_loop`.
        epoch_batches: `(epoch) -> batches`, each with a leading axis of steps, epochs from 0.
        validate: `(params) -> row`, a dict of numbers.
        monitor: the number in that row that selects the best parameters; ties go to the newest.
        mode: "min" if the lowest is the best, "max" if the highest is. None is "min"; a monitor
            named "...accuracy" requires a mode.
        patience: epochs without an equal or better value, after which training stops; None never
            stops.
        epochs: the total number of epochs, including the epochs of `progress`.
        report: takes a row of numbers after each epoch: "epoch", "step", "seconds", "waiting" (the
            share of these seconds spent preparing batches), the means of the training metrics,
            and the numbers of `validate` with the prefix "validation_".
        save: takes the progress after each epoch.
        should_stop: called after each call of the loop. True discards the current epoch and returns
            the progress before it.

    Returns:
        The progress, and why training ended: "epochs", "patience", "stopped", or "not finite" (a
        step, or the monitored number). After a step that is not finite, `progress.state` holds
        the last good parameters and the number of steps taken.

    Raises:
        ValueError: if an argument has the wrong type, its state was donated, an epoch has no batch,
            or `validate` does not return a dict of numbers with the monitor in it.
    """
    if not isinstance(progress, Progress):
        raise ValueError(
            "fit: progress must be a Progress, from init_progress(state), "
            f"got {type(progress).__name__}."
        )
    check_live("fit", "progress", progress)
    for name, function in (("epoch_batches", epoch_batches), ("validate", validate)):
        if not callable(function):
            raise ValueError(f"fit: {name} must be a function, got {describe(function)}.")
    if patience is not None and patience < 1:
        raise ValueError(f"fit: patience must be 1 or more, or None, got {patience}.")
    if mode not in ("min", "max", None):
        raise ValueError(f'fit: mode must be "min" or "max", got {mode!r}.')
    if mode is None and monitor.endswith("accuracy"):
        raise ValueError(
            f'fit: mode must be given for monitor {monitor!r}: "max" keeps the highest, got None.'
        )
    sign = -1 if mode == "max" else 1
    while progress.epoch < epochs:
        if patience is not None and progress.epoch - progress.best_epoch >= patience:
            return progress, "patience"
        epoch, start = int(progress.epoch), time.perf_counter()
        rows, waited, state = [], 0.0, jax.tree.map(jnp.copy, progress.state)
        stacks = iter(_check_epoch(epoch, epoch_batches(epoch)))
        while True:
            asked = time.perf_counter()
            batches = next(stacks, None)
            waited += time.perf_counter() - asked
            if batches is None:
                break
            state, metrics = train_loop(state, batches)
            finite, row = _part(metrics)
            if not finite.all():
                return progress._replace(state=state), "not finite"
            rows.append(row)
            if should_stop():
                return progress, "stopped"
        if not rows:
            raise ValueError(f"fit: epoch_batches({epoch}) must yield a batch.")
        validation = _check_row(validate(state.params), monitor)
        value = validation[monitor]
        if not math.isfinite(value):
            return progress, "not finite"
        epoch += 1
        progress = progress._replace(state=state, epoch=epoch)
        if not progress.best_epoch or sign * value <= sign * progress.best_value:
            progress = progress._replace(
                best_params=state.params, best_value=value, best_epoch=epoch
            )
        means = {name: float(np.concatenate([r[name] for r in rows]).mean()) for name in rows[0]}
        seconds = time.perf_counter() - start
        report(
            {"epoch": epoch, "step": int(state.step), "seconds": seconds}
            | {"waiting": waited / seconds, **means}
            | {f"validation_{name}": number for name, number in validation.items()}
        )
        save(progress)
    return progress, "epochs"


def _check_epoch(epoch: int, stacks: Any) -> Iterable[Any]:
    """Returns an epoch's stacks of batches; raises ValueError for a single tree of arrays."""
    is_tree = isinstance(stacks, Mapping) or hasattr(stacks, "_fields") or hasattr(stacks, "shape")
    if is_tree or not isinstance(stacks, Iterable):
        raise ValueError(
            f"fit: epoch_batches({epoch}) must yield stacks of batches, e.g. [batches], "
            f"got {describe(stacks)}."
        )
    return stacks


def _part(metrics: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns `finite` and all other metrics of a loop's steps, as arrays on the host."""
    metrics = {name: np.asarray(value) for name, value in metrics.items()}
    finite = metrics.pop("finite", None)
    if finite is None or finite.ndim != 1:
        raise ValueError(
            "fit: train_loop must be from make_train_loop, whose metrics have an axis of steps, "
            f"got finite {describe(finite)}."
        )
    return finite, metrics


def _check_row(row: Any, monitor: str) -> Row:
    """Returns the numbers of `validate` as floats; raises ValueError if one is not a number."""
    if not isinstance(row, Mapping):
        raise ValueError(
            f'fit: validate must return a dict of numbers, e.g. {{"{monitor}": 0.5}}, '
            f"got {describe(row)}."
        )
    if monitor not in row:
        known = ", ".join(map(repr, row)) or "nothing"
        raise ValueError(
            f"fit: monitor must be a number that validate returns, {known}, got {monitor!r}."
        )
    for name, value in row.items():
        if not is_scalar(value):
            raise ValueError(
                f"fit: validate must return a dict of numbers, got {name} {describe(value)}."
            )
    return {name: float(value) for name, value in row.items()}
