"""The settings of a run, in its files, and how they may change while it goes on.

    config.json     {"task": "language", ..., "changes": [{"epoch": 12, "learning_rate": 0.001}]}
    metrics.jsonl   {"epoch": 13, ..., "changed_learning_rate": 0.001}

With `--override` a run goes on with other settings. The data must stay, and so must all that the
net computes in evaluation. What may change is marked as `FREE`: noise, dropout, the loss, the
optimiser, the patience.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from gru_jax.app.folder import find, one_error
from gru_jax.app.problem import Problem
from gru_jax.app.tasks import TASKS
from gru_jax.app.tasks.config import FREE, Config, from_json
from gru_jax.app.tasks.task import Task


def as_settings(problem: Problem) -> dict[str, Any]:
    """Returns the task and its settings, as `config.json` has them: lists, not tuples."""
    settings = {"task": problem.task.name, **dataclasses.asdict(problem.config)}
    return json.loads(json.dumps(settings))


def from_settings(settings: dict[str, Any]) -> tuple[Task, Config]:
    """Returns the task and the settings that `as_settings` wrote down."""
    settings.pop("changes", None)
    if settings["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}")
    task = TASKS[settings.pop("task")]
    return task, from_json(task.Config, settings)


def read_config(folder: Path) -> tuple[Task, Config]:
    """Returns a run's task and settings.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if its `config.json` is damaged, or another version of gru_jax wrote it.
    """
    path = find(folder, "config.json")
    with one_error(path):
        return from_settings(json.loads(path.read_text()))


def find_changes(before: Config, after: Config) -> dict[str, Any]:
    """Returns the new values of the settings that differ; a run may always get more epochs."""
    values = dataclasses.asdict(after)
    kept = dataclasses.asdict(before) | {"epochs": after.epochs}
    return {name: value for name, value in values.items() if value != kept[name]}


def check_changes(before: Config, after: Config) -> None:
    """Makes sure that a run can go on with other settings.

    Raises:
        ValueError: if one of them is not marked as `FREE`.
    """
    hints = get_type_hints(type(before), include_extras=True)
    for name, value in find_changes(before, after).items():
        if FREE not in get_args(hints[name]):
            raise ValueError(
                f"train: --override must keep the data and the net, but --{name.replace('_', '-')} "
                f"{value} changes them."
            )


def read_changes(folder: Path) -> list[dict[str, Any]]:
    """Returns the changes of a run so far; each has the epoch after which it was made."""
    return json.loads((folder / "config.json").read_text()).get("changes", [])


def describe_changes(changes: Sequence[dict[str, Any]], epoch: int) -> dict[str, Any]:
    """Returns the numbers that the row of an epoch has for the changes just before it."""
    made = [change for change in changes if change["epoch"] == epoch - 1]
    return {
        f"changed_{name}": value
        for change in made
        for name, value in change.items()
        if name != "epoch"
    }
