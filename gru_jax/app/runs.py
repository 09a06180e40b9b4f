"""A training run is a folder; these functions make it and go on with it.

    begin, reopen --> train --> finish        config.json  metrics.jsonl  checkpoints/
                                              best.safetensors  result.json  figures/

Going on needs `checkpoints/`. Files are written beside their place and moved there.
`metrics.jsonl` grows by whole lines, and going on cuts it back to the epochs of the checkpoint.
Rows reach the disk before the checkpoint that counts them, and `best.safetensors` follows it, so a
run can be killed at any moment.
"""

import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

import gru_jax as gj
from gru_jax import Row, interop
from gru_jax.app import problem as problems
from gru_jax.app.folder import append_row, locked, make, move_aside, read_rows, tidy
from gru_jax.app.inference import evaluate, load_trained
from gru_jax.app.problem import Problem
from gru_jax.app.settings import (
    as_settings,
    check_changes,
    describe_changes,
    find_changes,
    read_changes,
    read_config,
)
from gru_jax.app.tasks.config import Config
from gru_jax.app.tasks.task import Task
from gru_jax.app.warm_start import take_over
from gru_jax.files import flush, write_text

SAVE_EVERY = 5.0
"""Seconds between checkpoints; one more is written whenever training ends."""


class Run(NamedTuple):
    """A run in progress."""

    folder: Path
    problem: Problem
    progress: gj.Progress
    rows: list[Row]
    """One an epoch, as in `metrics.jsonl`."""
    started: float
    """On the clock of `time.perf_counter`, earlier sittings counted in."""
    origin: str = ""
    """The weights that it began with, in words, where a file had them."""
    changes: Sequence[dict[str, Any]] = ()
    """Settings that were overridden, each with the epoch after which."""


def begin(folder: Path, task: Task, config: Config) -> tuple[Run, Path | None]:
    """Makes the folder of a new run.

    Returns:
        The run, and the new place of an earlier run in the same folder, if there was one.

    Raises:
        ValueError: from `make_problem`, or if the folder holds something else than a run.
    """
    problem = problems.make_problem(task, config)
    progress, origin = problems.init_progress(problem), ""
    if source := config.init_from:
        params, origin = take_over(Path(source), problem.net, progress.state.params)
        progress = problems.init_progress(problem, params)
    moved = move_aside(folder)
    make(folder)
    _write_config(folder, problem)
    return Run(folder, problem, progress, [], time.perf_counter(), origin), moved


def reopen(folder: Path, task: Task, config: Config) -> Run:
    """Returns a run as its last checkpoint left it.

    Args:
        folder: the run's.
        task: its task, from `read_config`.
        config: its own settings, from there; `epochs` may have grown. Others may differ if the
            data and the net stay; the run then records the change.

    Raises:
        FileNotFoundError: if there is no run, or none that has saved anything.
        ValueError: from `make_problem`, if the data are not those that it began with, or if a file
            in the folder is damaged.
    """
    problem = problems.make_problem(task, config)
    progress = problems.init_progress(problem)
    with locked(folder):
        _, before = read_config(folder)
        check_changes(before, config)
        _check_data(folder, problem)
        try:
            progress = gj.load_checkpoint(folder / "checkpoints", progress)
        except FileNotFoundError:
            if (folder / "best.safetensors").exists():  # It follows the first checkpoint.
                raise
        rows = read_rows(folder / "metrics.jsonl", int(progress.epoch), problem.goal.monitor)
        started = time.perf_counter() - sum(row["seconds"] for row in rows)
        write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        changes = read_changes(folder)
        if changed := find_changes(before, config):
            changes.append({"epoch": len(rows), **changed})
        _write_config(folder, problem, changes)
        run = Run(folder, problem, progress, rows, started, changes=changes)
        if progress.best_epoch:
            _save_best(run, progress)  # The file may be of an earlier checkpoint.
    return run


def train(
    run: Run, report: Callable[[Row], None], should_stop: Callable[[], bool]
) -> tuple[Run, str]:
    """Trains to the end of the run, or until `should_stop`; says why it ended, as `fit` does.

    Raises:
        FileNotFoundError: if the folder is removed or moved.
        OSError: if a file cannot be written; the last checkpoint is then as it was.
        ValueError: if another process trains in the same folder, or has done so since the run was
            opened.
    """
    saved_at = time.monotonic()

    def report_and_log(row: Row) -> None:
        check_place()
        row |= describe_changes(run.changes, int(row["epoch"]))
        run.rows.append(row)
        append_row(run.folder / "metrics.jsonl", row)
        report(row)

    def save(progress: gj.Progress) -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= SAVE_EVERY:
            check_place()
            _save(run, progress)
            saved_at = time.monotonic()

    hooks = {"report": report_and_log, "save": save, "should_stop": should_stop}
    with locked(run.folder) as check_place:
        tidy(run.folder, as_settings(run.problem), len(run.rows))
        loop = problems.make_loop(run.problem)
        progress, reason = problems.train(run.problem, loop, run.progress, **hooks)
        check_place()
        _save(run, progress)
    return run._replace(progress=progress), reason


def finish(run: Run) -> tuple[dict[str, Any], list[Path]]:
    """Tests the best parameters; writes `result.json`, more files and, with matplotlib, figures.

    Returns:
        The result, and the paths of the task's files and of the figures.
    """
    problem, best = run.problem, run.rows[int(run.progress.best_epoch) - 1]
    monitor = f"validation_{problem.goal.monitor}"
    trained = problem.with_params(run.progress.best_params)
    written, notes = problem.task.files(trained, problem.parts.test, run.folder)
    result = evaluate(trained, problem.parts.test) | {
        monitor: best[monitor],
        "best_epoch": best["epoch"],
        "epochs": int(run.progress.epoch),
        "seconds": round(time.perf_counter() - run.started, 2),
        "seed": problem.config.seed,
        "recurrence": problem.recurrence,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        **({"notes": notes} if notes else {}),
    }
    write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
    if not importlib.util.find_spec("matplotlib"):
        return result, written
    from gru_jax.app import figures

    counts, folder = result.get("confusion_matrix"), run.folder / "figures"
    drawn = figures.draw_training(problem.goal, run.rows, counts, folder, random=problem.net.random)
    return result, written + drawn + problem.task.figures(trained, problem.parts.test, folder)


def _check_data(folder: Path, problem: Problem) -> None:
    """Raises ValueError if the data of a run are not those that it began with."""
    if not (folder / "best.safetensors").is_file():
        return  # Nothing was saved yet.
    facts = load_trained(folder).facts
    if changed := [name for name in facts if facts[name] != problem.facts.get(name)]:
        raise ValueError(
            f"train: the data must be those that {folder} began with, but they have other "
            f"{changed[0]} now."
        )


def _write_config(folder: Path, problem: Problem, changes: Sequence[dict[str, Any]] = ()) -> None:
    settings = as_settings(problem) | ({"changes": changes} if changes else {})
    write_text(folder / "config.json", json.dumps(settings, indent=2) + "\n")


def _save(run: Run, progress: gj.Progress) -> None:
    if run.rows:
        flush(run.folder / "metrics.jsonl")  # A checkpoint needs the rows of all its epochs.
    gj.save_checkpoint(run.folder / "checkpoints", progress)
    _save_best(run, progress)


def _save_best(run: Run, progress: gj.Progress) -> None:
    path, net, best = run.folder / "best.safetensors", run.problem.net, progress.best_params
    header = {"settings": as_settings(run.problem), "facts": run.problem.facts}
    metadata = {name: json.dumps(value) for name, value in header.items()}
    interop.save(path, net, best, metadata=metadata)
