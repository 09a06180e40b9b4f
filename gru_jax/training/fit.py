"""Training from beginning to end, on the host.

    for each epoch:   batches -> train_loop -> validate -> keep the best -> report -> save

It ends after the last epoch, without improvement (`patience`), on request, or at a number that is
not finite. An ensemble is one run: each member keeps the best of its own.
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
    best_value: Array | np.ndarray | float = math.inf
    best_epoch: Array | np.ndarray | int = 0
    """0 before the first epoch; `best_value` then has no meaning."""
    epoch: Array | int = 0
    """Finished epochs."""


def init_progress(state: TrainState) -> Progress:
    """Returns the progress of a new run; raises ValueError unless `state` is a TrainState.

    The arrays of an ensemble's state have an axis of members in front; each member then has its own
    `best_params`, `best_value` and `best_epoch`.
    """
    if not isinstance(state, TrainState):
        raise ValueError(
            f"init_progress: state must be a TrainState, from init_train_state, got "
            f"{type(state).__name__}."
        )
    if members := np.shape(state.step):
        return Progress(state, state.params, np.full(members, math.inf), np.zeros(members, int))
    return Progress(state, state.params)


def fit(
    progress: Progress,
    train_loop: TrainStep,
    epoch_batches: Callable[[int], Iterable[Any]],
    validate: Callable[[Params], Mapping[str, Any]],
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
        progress: from `init_progress`, an earlier `fit` or a checkpoint. An ensemble's arrays have
            an axis of members in front.
        train_loop: from `make_train_loop`, for an ensemble with `ensemble=True`.
        epoch_batches: `(epoch) -> batches`, each with a leading axis of steps, epochs from 0; for
            an ensemble `[members, steps, ...]`.
        validate: `(params) -> row`, a dict of numbers; for an ensemble of arrays `[members]`.
        monitor: the number in that row that selects the best parameters; ties go to the newest.
        mode: "min" if the lowest is the best, "max" if the highest is. None is "min"; a monitor
            named "...accuracy" requires a mode.
        patience: epochs without an equal or better value, after which training stops; None never
            stops. In an ensemble, a member's best is final then, and training stops after all.
        epochs: the total number of epochs, including the epochs of `progress`.
        report: takes a row of numbers after each epoch: "epoch", "step", "seconds", "waiting" (the
            share of these seconds spent preparing batches), the means of the training metrics,
            and the numbers of `validate` with the prefix "validation_". Of an ensemble, these are
            the members' means, and the same names with "_sd" their standard deviations.
        save: takes the progress after each epoch.
        should_stop: called after each call of the loop. True discards the current epoch and returns
            the progress before it.

    Returns:
        The progress, and why training ended: "epochs", "patience", "stopped", or "not finite" (a
        step, or the monitored number). After a step that is not finite, `progress.state` holds
        the last good parameters and the number of steps taken. One member of an ensemble that is
        not finite ends the training of all.

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
    members = np.shape(progress.state.step)
    while progress.epoch < epochs:
        waited_for = progress.epoch - np.asarray(progress.best_epoch)
        learning = np.full(members, True) if patience is None else waited_for < patience
        if not learning.any():
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
            finite, row = _part(metrics, members)
            if not finite.all():
                return progress._replace(state=state), "not finite"
            rows.append(row)
            if should_stop():
                return progress, "stopped"
        if not rows:
            raise ValueError(f"fit: epoch_batches({epoch}) must yield a batch.")
        validation = _check_row(validate(state.params), monitor, members)
        value = validation[monitor]
        if not np.isfinite(value).all():
            return progress, "not finite"
        epoch += 1
        first, best = np.asarray(progress.best_epoch) == 0, np.asarray(progress.best_value)
        better = np.asarray(learning & (first | (sign * value <= sign * best)))
        now = np.full(members, epoch) if members else epoch
        progress = progress._replace(
            state=state,
            epoch=epoch,
            best_params=_take(better, state.params, progress.best_params),
            best_value=_take(better, value, progress.best_value),
            best_epoch=_take(better, now, progress.best_epoch),
        )
        means = {
            name: np.concatenate([r[name] for r in rows], len(members)).mean(len(members))
            for name in rows[0]
        }
        means |= {f"validation_{name}": numbers for name, numbers in validation.items()}
        seconds = time.perf_counter() - start
        report(
            {"epoch": epoch, "step": int(np.max(state.step)), "seconds": seconds}
            | {"waiting": waited / seconds, **_spread(means)}
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


def _part(metrics: Any, members: tuple[int, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns `finite` and all other metrics of a loop's steps, as arrays on the host."""
    metrics = {name: np.asarray(value) for name, value in metrics.items()}
    finite = metrics.pop("finite", None)
    if finite is None or finite.ndim != 1 + len(members):
        options = "(..., ensemble=True)" if members else ""
        raise ValueError(
            f"fit: train_loop must be from make_train_loop{options}, whose metrics have an axis of "
            f"steps{' behind that of members' * bool(members)}, got finite {describe(finite)}."
        )
    return finite, metrics


def _take(better: np.ndarray, new: Any, old: Any) -> Any:
    """Returns a tree's arrays from `new` for the members that are better, else from `old`."""
    if not better.ndim:
        return new if better else old

    def one(new: Any, old: Any) -> Any:
        where = better.reshape(better.shape + (1,) * (np.ndim(new) - 1))
        return (np if isinstance(new, np.ndarray) else jnp).where(where, new, old)

    return jax.tree.map(one, new, old)


def _spread(rows: dict[str, Any]) -> Row:
    """Returns numbers as floats; of an ensemble, the members' mean and standard deviation."""
    means = {name: float(np.mean(values)) for name, values in rows.items()}
    several = {name: values for name, values in rows.items() if np.ndim(values)}
    return means | {f"{n}_sd": float(np.std(v, ddof=np.size(v) > 1)) for n, v in several.items()}


def _check_row(row: Any, monitor: str, members: tuple[int, ...]) -> dict[str, Any]:
    """Returns the numbers of `validate`; raises ValueError if one is not a number."""
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
        if members and np.shape(value) != members:
            raise ValueError(
                f"fit: validate must return a dict of arrays {list(members)}, a number for each "
                f"member, got {name} {describe(value)}."
            )
        if not members and not is_scalar(value):
            raise ValueError(
                f"fit: validate must return a dict of numbers, got {name} {describe(value)}."
            )
    return {name: np.asarray(v, float) if members else float(v) for name, v in row.items()}
