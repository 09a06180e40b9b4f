"""A training run is a folder; these functions make it and go on with it.

    begin, reopen --> train        config.json  metrics.jsonl  checkpoints/  best.safetensors

With several seeds, each seed's files are in a folder of its own, `seed_0/`, which is a run, too.
Going on needs `checkpoints/`. Files are written beside their place and moved there.
`metrics.jsonl` grows by whole lines, and going on cuts it back to the epochs of the checkpoint.
Rows reach the disk before the checkpoint that counts them, and `best.safetensors` follows it, so a
run can be killed at any moment.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gru_jax as gj
from gru_jax import Params, Row, interop
from gru_jax.app import problem as problems
from gru_jax.app.ensemble import init_progress, make_members, take
from gru_jax.app.ensemble import train as train_members
from gru_jax.app.folder import BEST, append_row, locked, make, move_aside, read_rows, tidy
from gru_jax.app.inference import load_trained
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
    members: tuple[Problem, ...]
    """The problem of each seed; () if there is one seed."""
    progress: gj.Progress
    rows: list[Row]
    """One an epoch, as in `metrics.jsonl`."""
    started: float
    """On the clock of `time.perf_counter`, earlier sittings counted in."""
    origin: str = ""
    """The weights that it began with, in words, where a file had them."""
    changes: Sequence[dict[str, Any]] = ()
    """Settings that were overridden, each with the epoch after which."""

    def seeds(self) -> list["Seed"]:
        """Returns the run of each seed."""
        _, params, value, epoch, _ = self.progress
        if not self.members:
            return [Seed(self.folder, self.problem, params, float(value), int(epoch))]
        return [
            Seed(seed_folder(self.folder, member), member, *take((params, value, epoch), i))
            for i, member in enumerate(self.members)
        ]


class Seed(NamedTuple):
    """The run of one seed, among others or alone."""

    folder: Path
    problem: Problem
    params: Params
    """The best parameters."""
    value: float
    """Their validation."""
    epoch: int
    """Their epoch."""


def seed_folder(folder: Path, member: Problem) -> Path:
    """Returns the folder of one seed in a run of several."""
    return folder / f"seed_{member.config.seed}"


def begin(folder: Path, task: Task, config: Config) -> tuple[Run, Path | None]:
    """Makes the folder of a new run.

    Returns:
        The run, and the new place of an earlier run in the same folder, if there was one.

    Raises:
        ValueError: from `make_problem`, or if the folder holds something else than a run.
    """
    problem, origin, params = problems.make_problem(task, config), "", None
    members = make_members(problem)
    if source := config.init_from:
        first = problems.init_progress(problem).state.params
        params, origin = take_over(Path(source), problem.net, first)
    progress = init_progress(problem, members, params)
    moved = move_aside(folder)
    make(folder)
    _write_config(folder, problem)
    for member in members:
        make(seed_folder(folder, member))
        _write_config(seed_folder(folder, member), member)
    return Run(folder, problem, members, progress, [], time.perf_counter(), origin), moved


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
    members = make_members(problem)
    progress = init_progress(problem, members)
    with locked(folder):
        _, before = read_config(folder)
        check_changes(before, config)
        places = [(seed_folder(folder, member), member) for member in members]
        for place in places or [(folder, problem)]:
            _check_data(*place)
        try:
            progress = gj.load_checkpoint(folder / "checkpoints", progress)
        except FileNotFoundError:
            # A file of parameters follows the first checkpoint.
            if any((path / BEST).exists() for path, _ in places or [(folder, problem)]):
                raise
        rows = read_rows(folder / "metrics.jsonl", int(progress.epoch), problem.goal.monitor)
        started = time.perf_counter() - sum(row["seconds"] for row in rows)
        write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        changes = read_changes(folder)
        if changed := find_changes(before, config):
            changes.append({"epoch": len(rows), **changed})
        _write_config(folder, problem, changes)
        for path, member in places:
            _write_config(path, member, changes)
        run = Run(folder, problem, members, progress, rows, started, changes=changes)
        if progress.epoch:
            _save_best(run)  # The file may be of an earlier checkpoint.
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
        progress, reason = train_members(run.problem, run.members, run.progress, **hooks)
        check_place()
        _save(run, progress)
    return run._replace(progress=progress), reason


def _check_data(folder: Path, problem: Problem) -> None:
    """Raises ValueError if the data of a run are not those that it began with."""
    if not (folder / BEST).is_file():
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
    _save_best(run._replace(progress=progress))


def _save_best(run: Run) -> None:
    for folder, problem, params, *_ in run.seeds():
        header = {"settings": as_settings(problem), "facts": problem.facts}
        metadata = {name: json.dumps(value) for name, value in header.items()}
        interop.save(folder / BEST, problem.net, params, metadata=metadata)
