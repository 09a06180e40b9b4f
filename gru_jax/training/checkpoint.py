"""The last state and the best parameters of a training run, on disk by Orbax.

    checkpoints/<number>/last            all that `fit` needs to resume
                        /best            the parameters that validated best
                        /checksums.json  SHA-256 of each file of both

A new checkpoint is written beside the old one, checksums included, and reaches the disk. Then one
rename makes it the newest. Then the old one is removed, so one whole checkpoint always exists,
whatever ends the process or the machine. Files are checked against their checksums before Orbax
reads them: its threads report damage one by one, long after the first has raised.
"""

import contextlib
import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from gru_jax.files import flush, import_package, write_text
from gru_jax.training.checks import describe, is_typed_key, name_leaves
from gru_jax.training.fit import Progress
from gru_jax.types import Params

CHECKSUMS = "checksums.json"
UNFINISHED, ORBAX_UNFINISHED = "unfinished", ".orbax-checkpoint-tmp"
"""Name of a checkpoint that is being written, and the ending that Orbax gives to its own."""
_import_orbax = partial(import_package, package="orbax-checkpoint", module="orbax.checkpoint")
"""Imports Orbax on first use, as it takes a second."""


def save_checkpoint(folder: Path, progress: Progress) -> None:
    """Writes a checkpoint and, once it is complete, removes the previous one.

    Also removes whatever a process that was killed while it saved has left in the folder.

    Raises:
        ModuleNotFoundError: without the package orbax-checkpoint, of the extra `app`.
        OSError: if it cannot be written; the previous one is then untouched.
    """
    ocp, folder = _import_orbax("save_checkpoint"), folder.absolute()
    items = ocp.args.Composite(
        last=ocp.args.StandardSave(progress._replace(best_params=())),
        best=ocp.args.StandardSave(progress.best_params),
    )
    unfinished = folder / UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = _numbers(folder)
        _remove_all_but(folder, numbers)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
            writer.save(unfinished, args=items)
        files = [path for path in sorted(unfinished.glob("*/**/*")) if path.is_file()]
        sums = {path.relative_to(unfinished).as_posix(): _checksum(path) for path in files}
        write_text(unfinished / CHECKSUMS, json.dumps(sums, indent=1) + "\n")
        for path in [*unfinished.rglob("*"), unfinished]:
            flush(path)
        number = max(numbers, default=-1) + 1
        unfinished.rename(folder / str(number))
        flush(folder)
    except Exception as error:  # Orbax raises what TensorStore, zarr and JSON raise.
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(f"{unfinished}{ORBAX_UNFINISHED}", ignore_errors=True)
        reason = (str(error).strip() or repr(error)).splitlines()[0][:160]
        raise OSError(
            f"save_checkpoint: {folder} must take a whole checkpoint, but: {reason}."
        ) from error
    _remove_all_but(folder, [number])


def _numbers(folder: Path) -> list[int]:
    """Returns the numbers of the checkpoints in a folder."""
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def _remove_all_but(folder: Path, numbers: list[int]) -> None:
    """Removes other checkpoints, and unfinished ones of any version."""
    for path in folder.iterdir():
        unfinished = path.name == UNFINISHED or path.name.endswith(ORBAX_UNFINISHED)
        if unfinished or (path.name.isdecimal() and int(path.name) not in numbers):
            shutil.rmtree(path)


def load_checkpoint(folder: Path, like: Progress) -> Progress:
    """Returns the saved progress.

    Args:
        folder: the run's `checkpoints`.
        like: a `Progress` with the same structure, shapes and dtypes.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ModuleNotFoundError: without the package orbax-checkpoint, of the extra `app`.
        ValueError: if it is damaged, or differs from `like` in structure, shape or dtype.
    """
    best = load_best(folder, like.best_params)
    last = _load(folder, "last", like._replace(best_params=()))
    return last._replace(best_params=best)


def load_best(folder: Path, like: Params) -> Params:
    """Returns the parameters that validated best; raises as `load_checkpoint` does."""
    return _load(folder, "best", like)


def _load(folder: Path, item: str, like: Progress | Params) -> Progress | Params:
    if not folder.is_dir():
        raise FileNotFoundError(f"load_checkpoint: no folder {folder}; train first.")
    if not (numbers := _numbers(folder)):
        raise FileNotFoundError(f"load_checkpoint: no checkpoint in {folder}; train first.")
    ocp, path = _import_orbax("load_checkpoint"), folder / str(max(numbers)) / item
    directory: Any = path.absolute()  # Orbax declares its own Path, but takes any.
    with contextlib.closing(ocp.StandardCheckpointHandler()) as reader:
        try:
            _check_files(path)
            saved = reader.metadata(directory).tree
        except Exception as error:  # Orbax raises what TensorStore, zarr and JSON raise.
            raise _damaged(path, error) from error
        _check_arrays(path, saved, like)
        try:
            return reader.restore(directory, args=ocp.args.StandardRestore(like))
        except Exception as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = (str(error).strip() or repr(error)).splitlines()[0][:160]
    return ValueError(f"load_checkpoint: {path} must be whole, but cannot be read: {reason}.")


def _check_files(item: Path) -> None:
    """Raises unless an item's files match their checksums; older checkpoints have none."""
    checksums = item.parent / CHECKSUMS
    if not checksums.exists():
        return
    try:
        sums = json.loads(checksums.read_text())
        expected = {item.parent / name: checksum for name, checksum in sums.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{checksums.name} is damaged: {error}") from error
    for path, checksum in expected.items():
        if path.is_relative_to(item) and not path.is_file():
            raise ValueError(f"{path.relative_to(item)} is missing")
        if path.is_relative_to(item) and _checksum(path) != checksum:
            raise ValueError(f"{path.relative_to(item)} is damaged")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_arrays(path: Path, saved: object, like: Progress | Params) -> None:
    """Compares before reading arrays: Orbax casts other dtypes, and reports wrong shapes late."""
    others = dict(name_leaves(saved))
    for name, leaf in name_leaves(like):
        actual = describe(others.pop(name, None))
        # Keys are left to Orbax. It stores a key as its bits, a plain number in the widest dtype.
        compared = hasattr(leaf, "dtype") and not is_typed_key(leaf)
        if compared and actual != describe(leaf):
            raise ValueError(
                f"load_checkpoint: {name} in {path} must be {describe(leaf)} to match this net, "
                f"got {actual}."
            )
    if others:
        raise ValueError(
            f"load_checkpoint: {path} must hold this net alone, got another array: {min(others)}."
        )
