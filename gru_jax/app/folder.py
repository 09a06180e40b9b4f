"""The folder of a run: which files are in it, and who may write there."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gru_jax.files import find_leftovers

BEST = "best.safetensors"
"""The file of a run's best parameters."""


def find(folder: Path, name: str = BEST) -> Path:
    """Returns the path of a run's file; raises FileNotFoundError, and says why, without one."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} must be the folder of a run, but has no config.json.")
    if name == BEST and (seeds := sorted(folder.glob("seed_*"))):
        raise FileNotFoundError(
            f"{folder} must be a run of one seed, but has {len(seeds)}: name one, e.g. {seeds[0]}."
        )
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
    if not folder.exists():
        return None
    if folder.is_dir() and set(folder.iterdir()) <= set(find_leftovers(folder)):
        return None  # also where a run was killed before it had a config.json
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


def make(folder: Path) -> None:
    """Makes a folder, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder} must be a folder, but none can be made: {error}.") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Keeps other processes from training in the folder; the lock goes with the process.

    Yields:
        A function that raises FileNotFoundError once the folder was removed or moved.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: if another process trains there.
    """
    path = folder / "lock" if sys.platform == "win32" else folder

    gone = FileNotFoundError(f"{folder} must stay while training runs, but was moved or removed.")

    def check() -> None:
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise gone

    if not folder.is_dir():
        raise gone
    if sys.platform == "win32":  # which locks files alone
        import msvcrt

        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        lock = partial(msvcrt.locking, handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
        lock = partial(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        try:
            lock()
        except (BlockingIOError, PermissionError) as error:
            raise ValueError(
                f"{folder} must be free, but another process trains there; give another --out."
            ) from error
        yield check
    finally:
        os.close(handle)


def tidy(folder: Path, settings: dict[str, Any], rows: int) -> None:
    """Removes what processes that were killed have left in a locked run's folder.

    Raises:
        ValueError: if it has other settings, or another number of rows: another process has begun
            or continued a run there.
    """
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().count(b"\n") if path.exists() else 0
    written = json.loads(find(folder, "config.json").read_text())
    same = json.dumps({name: written.get(name) for name in settings}) == json.dumps(settings)
    if lines != rows or not same:  # As JSON: a tuple comes back as a list.
        raise ValueError(f"{folder} must be as it was opened, but another process trained there.")
    for leftover in find_leftovers(folder):
        leftover.unlink()


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Writes a line of `metrics.jsonl`; `read_rows` passes over one that is cut off."""
    try:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise OSError(
            f"{path} must take the line of epoch {row['epoch']}, but: {error.strerror}."
        ) from error


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
