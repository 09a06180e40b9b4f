"""The folder of a run: which files are in it, and who may write there."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any


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


@contextlib.contextmanager
def one_error(path: Path) -> Iterator[None]:
    """Turns whatever a file that lies brings about into one sentence."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be one that training wrote: {error}.") from error


def move_aside(folder: Path) -> Path | None:
    """Moves a run out of the way; returns where to, None if nothing was there.

    Raises:
        ValueError: if the folder holds something else, or another process trains there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        path = find(folder, "config.json")
        with one_error(path):
            if not isinstance(json.loads(path.read_text())["task"], str):
                raise ValueError("task must be a name")
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder} must be empty, new, or a run: {error}") from error
    folder = folder if folder.name else folder.resolve()
    numbered = (folder.with_name(f"{folder.name}.{i}") for i in itertools.count(1))
    target = next(path for path in numbered if not path.exists())
    with locked(folder):
        if sys.platform != "win32":
            return folder.rename(target)
    return folder.rename(target)  # Windows moves no folder while a file in it is open.


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder; the lock goes with the process.

    Raises:
        ValueError: if another process does.
    """
    if sys.platform == "win32":  # which locks files alone
        import msvcrt

        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        lock = partial(msvcrt.locking, handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

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


def read_rows(path: Path, count: int, monitor: str) -> list[dict[str, Any]]:
    """Returns the first rows; those behind them are of epochs that were not saved.

    Raises:
        ValueError: if they are not whole.
    """
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
