"""Who else follows a training: TensorBoard, or a class of the user's own.

gru-jax train --track tensorboard
gru-jax train --track my_module:MyTracker

class MyTracker:                                    # any class with these four
def __init__(self, folder): ...                 # the run's
def begin(self, settings, epoch): ...           # the task and its settings; epochs done
def log(self, row): ...                         # after each epoch, the row of metrics.jsonl
def end(self, result): ...                      # that of result.json; None if interrupted
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from gru_jax import Row

TENSORBOARD = "tensorboard"


class Tracker(Protocol):
    """Follows a training."""

    def begin(self, settings: Mapping[str, Any], epoch: int) -> None:
        """Takes the task and its settings, and the number of epochs that are done already."""

    def log(self, row: Row) -> None:
        """Takes the numbers of an epoch, as in `metrics.jsonl`."""

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Takes the content of `result.json`, or None if training was interrupted."""


class TensorBoard:
    """Writes scalars by step into the run's `tensorboard/`."""

    def __init__(self, folder: Path) -> None:
        """Imports tensorboardX; the files are made by `begin`."""
        from tensorboardX import SummaryWriter

        self.open = lambda step: SummaryWriter(str(folder / TENSORBOARD), purge_step=step)
        self.writer: Any = None

    def begin(self, settings: Mapping[str, Any], epoch: int) -> None:
        """Writes the settings; drops what an earlier sitting wrote and did not save."""
        self.writer = self.open(epoch + 1)
        self.writer.add_text("settings", f"```\n{json.dumps(settings, indent=2)}\n```", epoch)

    def log(self, row: Row) -> None:
        """Writes each number of the row."""
        for name, value in row.items():
            part, _, rest = name.partition("validation_")
            tag = f"{rest}/validation" if rest else f"{part}/training"
            self.writer.add_scalar(tag, value, int(row["epoch"]))
        self.writer.flush()

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Closes the file."""
        del result
        self.writer.close()


class Trackers:
    """Several trackers as one. One that raises is left out from then on: training is worth more."""

    def __init__(self, names: Iterable[str], folder: Path, warn: Callable[[str], object]) -> None:
        """Builds them, for the folder of a run.

        Raises:
            ValueError: if one does not exist, or is not installed.
        """
        self.alive = [make_tracker(name, folder) for name in names]
        self.warn = warn

    def begin(self, settings: Mapping[str, Any], epoch: int) -> None:
        """Tells all."""
        self._tell("begin", settings, epoch)

    def log(self, row: Row) -> None:
        """Tells all."""
        self._tell("log", row)

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Tells all."""
        self._tell("end", result)

    def _tell(self, method: str, *args: Any) -> None:
        for tracker in list(self.alive):
            try:
                getattr(tracker, method)(*args)
            except Exception as error:  # A user's class may raise anything.
                self.alive.remove(tracker)
                self.warn(f"{type(tracker).__name__} no longer follows: {method} raised {error!r}.")


def make_tracker(name: str, folder: Path) -> Tracker:
    """Builds the tracker of this name, `tensorboard` or `module:Class`.

    Raises:
        ValueError: if there is none, or it is not installed.
    """
    if name == TENSORBOARD:
        try:
            return TensorBoard(folder)
        except ImportError as error:
            raise ValueError(
                "train: --track tensorboard needs tensorboardX: pip install tensorboardX."
            ) from error
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        tracker = getattr(importlib.import_module(module), attribute)(folder)
        if missing := [each for each in ("begin", "log", "end") if not hasattr(tracker, each)]:
            raise AttributeError(f"it has no {missing[0]}")
        return tracker
    except Exception as error:  # A user's module may raise anything.
        raise ValueError(
            f"train: --track must be tensorboard, or module:Class with begin, log and end, got "
            f"{name}: {error}."
        ) from error
    finally:
        sys.path.pop(0)
