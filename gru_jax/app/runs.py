"""A training run is a folder; this is what happens to it.

    begin, reopen --> train --> finish        config.json  metrics.jsonl  checkpoints/
    load_trained --> evaluate, predict        result.json  figures/

JSON is written beside its place and then moved there; `metrics.jsonl` grows by whole lines, and
going on with a run cuts it back to what its checkpoint knows.
"""

import contextlib
import dataclasses
import fcntl
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.files import write_text
from gru_jax.training.checkpoint import load_best, load_checkpoint, save_checkpoint
from gru_jax.training.fit import Progress, Row, StopReason, fit
from gru_jax.training.metrics import confusion_matrix
from gru_jax.training.step import count_parameters
from gru_jax.types import Params

SAVE_EVERY = 5.0
"""Seconds between checkpoints; one more is written whenever training ends."""


class Run(NamedTuple):
    """A run at hand: its folder, its settings, its data, and where it stands."""

    folder: Path
    config: task.Config
    problem: task.Problem
    progress: Progress
    rows: list[Row]
    """One an epoch, as in `metrics.jsonl`."""
    started: float
    """On the clock of `time.perf_counter`, earlier sittings counted in."""
    recurrence: str
    """Which code runs the recurrences in this sitting."""


class Trained(NamedTuple):
    """A run's settings and best parameters: all that using it needs."""

    config: task.Config
    scale: task.Scale
    params: Params


def begin(folder: Path, config: task.Config) -> tuple[Run, Path | None]:
    """Makes the folder of a new run.

    Returns:
        The run, and where an earlier run in the same folder has been moved, if there was one.

    Raises:
        ValueError: if the folder holds something else than a run, or the environment asks for
            a kernel that is not there.
    """
    recurrence = str(task.recurrence(task.check(config)))
    problem = task.load_problem(config)
    progress = task.begin(config, problem)
    moved = _move_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder, config, problem.scale)
    return Run(folder, config, problem, progress, [], time.perf_counter(), recurrence), moved


def reopen(folder: Path, config: task.Config) -> Run:
    """Returns a run as its last checkpoint left it.

    Args:
        folder: the run's.
        config: its own settings, from `read_config`; `epochs` may have grown.

    Raises:
        FileNotFoundError: if there is no run, or none that has saved anything.
        ValueError: if a file in it is damaged, or the environment asks for a kernel that
            is not there.
    """
    recurrence = str(task.recurrence(config))
    problem = task.load_problem(config)
    progress = load_checkpoint(folder / "checkpoints", task.begin(config, problem))
    rows = _read_rows(folder / "metrics.jsonl", int(progress.epoch))
    started = time.perf_counter() - sum(row["seconds"] for row in rows)
    with _locked(folder):
        write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        _write_config(folder, config, problem.scale)
    return Run(folder, config, problem, progress, rows, started, recurrence)


def train(
    run: Run, report: Callable[[Row], None], should_stop: Callable[[], bool]
) -> tuple[Run, StopReason]:
    """Trains to the end of the run, or until `should_stop`; says why it ended. See `fit`.

    Raises:
        ValueError: if another process trains in the same folder.
    """
    config, problem = run.config, run.problem
    metrics_file = run.folder / "metrics.jsonl"
    saved_at = time.monotonic()

    def report_and_log(row: Row) -> None:
        run.rows.append(row)
        with metrics_file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        report(row)

    def save(progress: Progress) -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= SAVE_EVERY:
            save_checkpoint(run.folder / "checkpoints", progress)
            saved_at = time.monotonic()

    with _locked(run.folder):
        progress, ended = fit(
            run.progress,
            task.make_loop(config, problem),
            partial(task.epoch_batches, config, problem),
            partial(task.validate, config, problem),
            epochs=config.epochs,
            monitor=task.MONITOR,
            patience=config.patience,
            report=report_and_log,
            save=save,
            should_stop=should_stop,
        )
        save_checkpoint(run.folder / "checkpoints", progress)
    return run._replace(progress=progress), ended


def finish(run: Run) -> tuple[dict, list[Path]]:
    """Tests the best parameters; writes `result.json` and, with matplotlib, the figures.

    Returns:
        The result, and the paths of the figures.
    """
    trained = Trained(run.config, run.problem.scale, run.progress.best_params)
    result = evaluate(trained)
    best = run.rows[int(run.progress.best_epoch) - 1]
    result |= {
        "validation_accuracy": best["validation_accuracy"],
        "best_epoch": best["epoch"],
        "epochs": int(run.progress.epoch),
        "seconds": round(time.perf_counter() - run.started, 2),
        "seed": run.config.seed,
        "recurrence": run.recurrence,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
    return result, _draw(run, result) if importlib.util.find_spec("matplotlib") else []


def read_config(folder: Path) -> tuple[task.Config, task.Scale]:
    """Returns a run's settings, and the scale of its data.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if its `config.json` is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} must be the folder of a run, but has no config.json.")
    try:
        settings = json.loads(path.read_text())
        if settings.pop("task") != task.NAME:
            raise ValueError(f'task must be "{task.NAME}"')
        scale = task.Scale(**settings.pop("scale"))
        numbers = np.array(scale, float)
        if numbers.shape != (2, task.CHANNELS) or not np.isfinite(numbers).all():
            raise ValueError(f"scale must have {task.CHANNELS} means and standard deviations")
        if not (numbers[1] > 0).all():
            raise ValueError("scale.std must be above 0")
        return task.check(task.Config(**settings)), scale
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be one that training wrote: {error}.") from error


def load_trained(folder: Path | str) -> Trained:
    """Returns what a run has learned.

    Raises:
        FileNotFoundError: if there is no run, or none that has saved anything.
        ValueError: if a file in it is damaged.
    """
    folder = Path(folder)
    config, scale = read_config(folder)
    like = jax.eval_shape(lambda: task.init_params(config))
    return Trained(config, scale, load_best(folder / "checkpoints", like))


def evaluate(trained: Trained) -> dict:
    """Returns the test accuracy, the number of parameters, and the confusion matrix."""
    _, test = task.load_japanese_vowels()
    predictions = np.argmax(predict(trained, test.xs), -1)
    return {
        "task": task.NAME,
        "test_accuracy": float((predictions == test.targets).mean()),
        "parameters": count_parameters(trained.params),
        "confusion_matrix": confusion_matrix(test.targets, predictions, len(task.CLASSES)).tolist(),
    }


def predict(trained: Trained, xs: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the probability of each class for sequences `[time, 12]`, one row a sequence."""
    xs = task.standardise(xs, trained.scale)
    return np.asarray(jax.nn.softmax(task.predict(trained.config, trained.params, xs)))


def _move_aside(folder: Path) -> Path | None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        read_config(folder)
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder} must be empty, new, or a run: {error}") from error
    folder = folder if folder.name else folder.resolve()
    numbered = (folder.with_name(f"{folder.name}.{i}") for i in itertools.count(1))
    target = next(path for path in numbered if not path.exists())
    with _locked(folder):
        return folder.rename(target)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder; the lock goes with the process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ValueError(
            f"{folder} must be free, but another process trains there; give another --out."
        ) from error
    finally:
        os.close(handle)


def _draw(run: Run, result: dict) -> list[Path]:
    from matplotlib.figure import Figure

    from gru_jax import plot

    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    curves = Figure(figsize=(9, 3.4), layout="constrained")
    labels = {"loss": "loss (nats)", "accuracy": "accuracy (fraction)"}
    for (name, ylabel), ax in zip(labels.items(), curves.subplots(1, 2), strict=True):
        plot.learning_curves(run.rows, name, ax, ylabel=ylabel)
    curves.suptitle("noise, dropout and smoothing are on in training alone", fontsize=10)
    matrix = Figure(figsize=(5, 5), layout="constrained")
    counts = np.array(result["confusion_matrix"])
    ax = plot.confusion_matrix(counts, task.CLASSES, matrix.subplots())
    ax.set(xlabel="predicted speaker", ylabel="true speaker")
    ax.set_title(f"{np.trace(counts)} of {counts.sum()} test utterances right")
    paths = [folder / "learning_curves.png", folder / "confusion_matrix.png"]
    for path, figure in zip(paths, (curves, matrix), strict=True):
        figure.savefig(path, dpi=150)
    return paths


def _read_rows(path: Path, count: int) -> list[Row]:
    """Returns the first rows; what stands behind them is of epochs that were not saved."""
    if not count:
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()[:count]]
        if [row["epoch"] for row in rows] != list(range(1, count + 1)):
            raise ValueError(f"epochs are not 1 to {count}")
        if any({"seconds", "validation_accuracy"} - row.keys() for row in rows):
            raise ValueError("a row lacks its numbers")
        return rows
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} must have a JSON object for each epoch: {error}.") from error


def _write_config(folder: Path, config: task.Config, scale: task.Scale) -> None:
    settings = {"task": task.NAME, **dataclasses.asdict(config), "scale": scale._asdict()}
    write_text(folder / "config.json", json.dumps(settings, indent=2) + "\n")
