"""A training run is a folder; this is what happens to it.

    begin, reopen --> train --> finish        config.json  metrics.jsonl  checkpoints/
    load_trained --> evaluate, predict        best.safetensors  result.json  figures/

`best.safetensors` is all that using a run needs: its net with the best parameters, and, in its
header, the task, the settings and the statistics of the data. `checkpoints/` is for going on.
Files are written beside their place and moved there; `metrics.jsonl` grows by whole lines, and
going on with a run cuts it back to what its checkpoint knows.
"""

import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import problem as problems
from gru_jax.app.problem import Problem
from gru_jax.app.tasks import TASKS
from gru_jax.app.tasks.task import Config, Statistics, Task, check
from gru_jax.files import write, write_text  # public soon
from gru_jax.training.checkpoint import load_checkpoint, save_checkpoint  # public soon
from gru_jax.training.fit import Row  # public soon
from gru_jax.types import Params  # public soon

SAVE_EVERY = 5.0
"""Seconds between checkpoints; one more is written whenever training ends."""


class Run(NamedTuple):
    """A run at hand: its folder, its problem, and where it stands."""

    folder: Path
    problem: Problem
    progress: gj.Progress
    rows: list[Row]
    """One an epoch, as in `metrics.jsonl`."""
    started: float
    """On the clock of `time.perf_counter`, earlier sittings counted in."""
    recurrence: str
    """Which code runs the recurrences in this sitting."""


class Trained(NamedTuple):
    """What a run has learned, all in `best.safetensors`."""

    task: Task
    config: Config
    net: gj.Layer
    params: Params
    statistics: Statistics


def begin(folder: Path, task: Task, config: Config) -> tuple[Run, Path | None]:
    """Makes the folder of a new run.

    Returns:
        The run, and where an earlier run in the same folder has been moved, if there was one.

    Raises:
        ValueError: if a setting is out of range, the folder holds something else than a run, or
            the environment asks for a backend that is not there.
    """
    recurrence = problems.recurrence(task, config)
    problem = problems.make_problem(task, config)
    progress = problems.init_progress(problem)
    moved = _move_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder, problem)
    return Run(folder, problem, progress, [], time.perf_counter(), recurrence), moved


def reopen(folder: Path, task: Task, config: Config) -> Run:
    """Returns a run as its last checkpoint left it.

    Args:
        folder: the run's.
        task: its task, from `read_config`.
        config: its own settings, from there; `epochs` may have grown.

    Raises:
        FileNotFoundError: if there is no run, or none that has saved anything.
        ValueError: if a file in it is damaged, or the environment asks for a backend that is not
            there.
    """
    recurrence = problems.recurrence(task, config)
    problem = problems.make_problem(task, config)
    progress = load_checkpoint(folder / "checkpoints", problems.init_progress(problem))
    rows = _read_rows(folder / "metrics.jsonl", int(progress.epoch), task.monitor)
    started = time.perf_counter() - sum(row["seconds"] for row in rows)
    with _locked(folder):
        write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        _write_config(folder, problem)
    return Run(folder, problem, progress, rows, started, recurrence)


def train(
    run: Run, report: Callable[[Row], None], should_stop: Callable[[], bool]
) -> tuple[Run, str]:
    """Trains to the end of the run, or until `should_stop`; says why it ended, as `fit` does.

    Raises:
        ValueError: if another process trains in the same folder.
    """
    saved_at = time.monotonic()

    def report_and_log(row: Row) -> None:
        run.rows.append(row)
        with (run.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        report(row)

    def save(progress: gj.Progress) -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= SAVE_EVERY:
            _save(run, progress)
            saved_at = time.monotonic()

    with _locked(run.folder):
        hooks = {"report": report_and_log, "save": save, "should_stop": should_stop}
        loop = problems.make_loop(run.problem)
        progress, reason = problems.train(run.problem, loop, run.progress, **hooks)
        _save(run, progress)
    return run._replace(progress=progress), reason


def finish(run: Run) -> tuple[dict[str, Any], list[Path]]:
    """Tests the best parameters; writes `result.json` and, with matplotlib, the figures.

    Returns:
        The result, and the paths of the figures.
    """
    problem, best = run.problem, run.rows[int(run.progress.best_epoch) - 1]
    params, monitor = run.progress.best_params, f"validation_{problem.task.monitor}"
    trained = Trained(problem.task, problem.config, problem.net, params, problem.statistics)
    result = evaluate(trained, problem.parts.test) | {
        monitor: best[monitor],
        "best_epoch": best["epoch"],
        "epochs": int(run.progress.epoch),
        "seconds": round(time.perf_counter() - run.started, 2),
        "seed": problem.config.seed,
        "recurrence": run.recurrence,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
    return result, _draw(run, result) if importlib.util.find_spec("matplotlib") else []


def read_config(folder: Path) -> tuple[Task, Config]:
    """Returns a run's task and settings.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if its `config.json` is damaged, or another version of gru_jax wrote it.
    """
    path = find(folder, "config.json")
    with _one_error(path):
        return _settings(json.loads(path.read_text()))


def find(folder: Path, name: str = "best.safetensors") -> Path:
    """Returns the path of a run's file; raises FileNotFoundError, and says why, without one."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} must be the folder of a run, but has no config.json.")
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"{folder} must have the run's best parameters in {name}, but has none: nothing was "
            "saved yet, or another version of gru_jax trained it; train again."
        )
    return folder / name


def load_trained(folder: Path | str) -> Trained:
    """Returns what a run has learned.

    Raises:
        FileNotFoundError: if there is no run, or none that has saved anything.
        ValueError: if its `best.safetensors` is damaged.
    """
    path = find(Path(folder))
    net, params = interop.load(path)
    with _one_error(path):
        header = interop.load_metadata(path)
        task, config = _settings(json.loads(header["settings"]))
        statistics = json.loads(header["statistics"])
        task.prepare(statistics, [np.zeros((1, task.input_size), np.float32)])  # or says why not
        assert isinstance(net, gj.Layer)
        return Trained(task, config, net, params, statistics)


def evaluate(trained: Trained, test: gj.Dataset) -> dict[str, Any]:
    """Returns the means of the metrics, the number of parameters, and of classes the confusions."""
    task = trained.task
    ys = _outputs(trained, test.xs)
    means = problems.evaluate(task, ys, test.targets)
    result = {"task": task.name, **{f"test_{name}": mean for name, mean in means.items()}}
    result["parameters"] = gj.count_parameters(trained.params)
    if task.classes:
        answers, count = np.argmax(task.predict(ys), -1), len(task.classes)
        result["confusion_matrix"] = gj.confusion_matrix(test.targets, answers, count).tolist()
    return result


def predict(trained: Trained, xs: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the task's answers for sequences `[time, input]`, one row a sequence.

    A row holds the probability of each class or, of a task without classes, its values.
    """
    return np.asarray(trained.task.predict(_outputs(trained, xs)))


def _outputs(trained: Trained, xs: Sequence[np.ndarray]) -> jax.Array:
    prepared = trained.task.prepare(trained.statistics, xs)
    return problems.outputs(trained.net, trained.params, prepared)


def _settings(settings: dict[str, Any]) -> tuple[Task, Config]:
    """Returns the task and the settings that `_as_settings` wrote down."""
    if settings["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}")
    task = TASKS[settings.pop("task")]
    needed = {field.name for field in dataclasses.fields(task.Config)}
    if other := settings.keys() ^ needed:
        raise ValueError(
            f"its settings are of another version of gru_jax, {', '.join(sorted(other))} differ; "
            "train again"
        )
    return task, check(task.Config(**settings))


def _as_settings(problem: Problem) -> dict[str, Any]:
    return {"task": problem.task.name, **dataclasses.asdict(problem.config)}


def _write_config(folder: Path, problem: Problem) -> None:
    write_text(folder / "config.json", json.dumps(_as_settings(problem), indent=2) + "\n")


def _save(run: Run, progress: gj.Progress) -> None:
    problem = run.problem
    save_checkpoint(run.folder / "checkpoints", progress)
    header = {"settings": _as_settings(problem), "statistics": problem.statistics}
    metadata = {name: json.dumps(value) for name, value in header.items()}
    best = progress.best_params
    interop.save(run.folder / "best.safetensors", problem.net, best, metadata=metadata)


@contextlib.contextmanager
def _one_error(path: Path) -> Iterator[None]:
    """Turns whatever a file that lies brings about into one sentence."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be one that training wrote: {error}.") from error


def _move_aside(folder: Path) -> Path | None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        path = find(folder, "config.json")
        with _one_error(path):
            if json.loads(path.read_text())["task"] not in TASKS:
                raise ValueError(f"task must be one of {', '.join(TASKS)}")
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder} must be empty, new, or a run: {error}") from error
    folder = folder if folder.name else folder.resolve()
    numbered = (folder.with_name(f"{folder.name}.{i}") for i in itertools.count(1))
    target = next(path for path in numbered if not path.exists())
    with _locked(folder):
        if os.name != "nt":
            return folder.rename(target)
    return folder.rename(target)  # Windows moves no folder while a file in it is open.


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder; the lock goes with the process."""
    try:
        import fcntl
    except ImportError:  # on Windows, which locks files alone
        import msvcrt

        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        lock = partial(msvcrt.locking, handle, msvcrt.LK_NBLCK, 1)
    else:
        handle = os.open(folder, os.O_RDONLY)
        lock = partial(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        try:
            lock()
        except (BlockingIOError, PermissionError) as error:
            raise ValueError(
                f"{folder} must be free, but another process trains there; give another --out."
            ) from error
        yield
    finally:
        os.close(handle)


def _read_rows(path: Path, count: int, monitor: str) -> list[Row]:
    """Returns the first rows; what stands behind them is of epochs that were not saved."""
    if not count:
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()[:count]]
        if [row["epoch"] for row in rows] != list(range(1, count + 1)):
            raise ValueError(f"epochs are not 1 to {count}")
        if any({"seconds", f"validation_{monitor}"} - row.keys() for row in rows):
            raise ValueError("a row lacks its numbers")
        return rows
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} must have a JSON object for each epoch: {error}.") from error


def _draw(run: Run, result: dict[str, Any]) -> list[Path]:
    from matplotlib.figure import Figure

    from gru_jax import plot

    task, folder = run.problem.task, run.folder / "figures"
    folder.mkdir(exist_ok=True)
    names = [name for name in run.rows[0] if f"validation_{name}" in run.rows[0]]
    names.sort(key=lambda name: name != "loss")
    curves = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
    for name, ax in zip(names, curves.subplots(1, len(names), squeeze=False)[0], strict=True):
        unit = f" ({task.units[name]})" if name in task.units else ""
        plot.learning_curves(run.rows, name, ax, ylabel=name + unit)
    curves.suptitle("regularisation is on in training alone", fontsize=10)
    figures = {"learning_curves.png": curves}
    if task.classes:
        counts = np.array(result["confusion_matrix"])
        matrix = Figure(figsize=(5, 5), layout="constrained")
        ax = plot.confusion_matrix(counts, task.classes, matrix.subplots())
        ax.set(xlabel=f"predicted {task.target}", ylabel=f"true {task.target}")
        ax.set_title(f"{np.trace(counts)} of {counts.sum()} test {task.sample}s right")
        figures["confusion_matrix.png"] = matrix
    for name, figure in figures.items():
        write(folder / name, partial(figure.savefig, format="png", dpi=150))
    return [folder / name for name in figures]
