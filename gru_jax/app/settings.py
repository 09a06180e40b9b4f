"""A run's settings: how they are stored, and which may change when the run continues.

    config.json     {"task": "language", ..., "changes": [{"epoch": 12, "learning_rate": 0.001}]}
    metrics.jsonl   {"epoch": 13, ..., "changed_learning_rate": 0.001}

`--override` continues a run with other settings. The data and the net's function in evaluation must
stay the same. Settings marked `FREE` may change: noise, dropout, the loss, the optimiser, the
patience.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from gru_jax.app.folder import find, one_error
from gru_jax.app.problem import Problem
from gru_jax.app.tasks.config import FREE, Config, from_json
from gru_jax.app.tasks.table import TASKS
from gru_jax.app.tasks.task import Task


def as_settings(problem: Problem) -> dict[str, Any]:
    """Returns the task and its settings, in the form of `config.json`, with lists for tuples."""
    settings = {"task": problem.task.name, **dataclasses.asdict(problem.config)}
    return json.loads(json.dumps(settings))


def from_settings(settings: dict[str, Any]) -> tuple[Task, Config]:
    """Returns the task and the settings from the form of `as_settings`."""
    settings.pop("changes", None)
    if settings["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {settings['task']!r}")
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
    """Returns the settings that differ, with their new values.

    The number of epochs does not count.
    """
    values = dataclasses.asdict(after)
    kept = dataclasses.asdict(before) | {"epochs": after.epochs}
    return {name: value for name, value in values.items() if value != kept[name]}


def check_changes(before: Config, after: Config) -> None:
    """Checks that a run can continue with the new settings.

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


def name_options(message: str, config: Config) -> str:
    """Returns a message about arguments of Python with the command's options instead.

    read_series: time and id must ...      ->  train: --time and --id must ...
    a.csv must have a column 'ds', but     ->  a.csv must have a column 'ds' (--time), but
    """
    flags = {name: f"--{name.replace('_', '-')}" for name in vars(config)}
    if match := re.fullmatch(r"\w+: ([\w, ]+?)( must .*)", message):
        subject = re.sub(r"\w+", lambda word: flags.get(word[0], word[0]), match[1])
        if set(re.findall(r"[\w-]+", subject)) <= {"and", *flags.values()}:
            return f"train: {subject}{match[2]}"
    if match := re.search(r" must have a column '(.*?)'", message):
        column, end = match[1], match.end()
        for name, value in vars(config).items():
            if value == column or (isinstance(value, tuple) and column in value):
                return f"{message[:end]} ({flags[name]}){message[end:]}"
    return message


def read_changes(folder: Path) -> list[dict[str, Any]]:
    """Returns the changes of a run so far; each has the epoch after which it was made."""
    return json.loads((folder / "config.json").read_text()).get("changes", [])


def describe_changes(changes: Sequence[dict[str, Any]], epoch: int) -> dict[str, Any]:
    """Returns the entries of an epoch's row for the changes made just before it."""
    made = [change for change in changes if change["epoch"] == epoch - 1]
    return {
        f"changed_{name}": value
        for change in made
        for name, value in change.items()
        if name != "epoch"
    }
