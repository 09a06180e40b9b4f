"""Settings that change while a run goes on, by `--override`.

    config.json     {..., "changes": [{"epoch": 12, "learning_rate": 0.001}]}
    metrics.jsonl   {"epoch": 13, ..., "changed_learning_rate": 0.001}

The data must stay, and so must all that the net computes in evaluation. Noise, dropout, the loss,
the optimiser, the batch and the patience may change.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gru_jax.app import problem as problems
from gru_jax.app.problem import Problem
from gru_jax.app.tasks.task import Config, Task


def find_changes(before: Config, after: Config) -> dict[str, Any]:
    """Returns the new values of the settings that differ; a run may always get more epochs."""
    values = dataclasses.asdict(after)
    kept = dataclasses.asdict(before) | {"epochs": after.epochs}
    return {name: value for name, value in values.items() if value != kept[name]}


def check_changes(task: Task, before: Config, after: Config) -> None:
    """Makes sure, setting by setting, that a run can go on with other ones.

    Raises:
        ValueError: if a setting changes the data, the parameters' shapes or the net's function.
    """
    changes = find_changes(before, after)
    old = problems.make_problem(task, before) if changes else None
    for name, value in changes.items():
        new = problems.make_problem(task, dataclasses.replace(before, **{name: value}))
        assert old is not None
        same_data = name != "seed" and _same(_data(old), _data(new))
        if not same_data or not _same_net(old, new):
            raise ValueError(
                f"train: --override must keep the data and the net, but --{name.replace('_', '-')} "
                f"{value} changes the {'net' if same_data else 'data'}."
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


def _data(problem: Problem) -> Any:
    draw = problem.task.draw
    return problem.parts, draw(problem.config, 0) if draw else None


def _same_net(old: Problem, new: Problem) -> bool:
    """Returns True if the parameters have the same shapes, and the outputs the same bits."""
    params, others = (problems.init_progress(problem).state.params for problem in (old, new))
    if not _same(*(jax.tree.map(np.shape, tree) for tree in (params, others))):
        return False
    xs = old.validation.xs
    outputs = (problems.outputs(old.task, each.net, params, xs) for each in (old, new))
    return _same(*outputs)


def _same(a: Any, b: Any) -> bool:
    same_structure = jax.tree.structure(a) == jax.tree.structure(b)
    return same_structure and all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))
