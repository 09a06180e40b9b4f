"""Settings that change while a run goes on, by `--override`.

    config.json     {..., "changes": [{"epoch": 12, "learning_rate": 0.001}]}
    metrics.jsonl   {"epoch": 13, ..., "changed_learning_rate": 0.001}

The data must stay, and so must all that the net computes in evaluation. What may change is marked
as `FREE`: noise, dropout, the loss, the optimiser, the patience.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from gru_jax.app.tasks.config import FREE, Config


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
