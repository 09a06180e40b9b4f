"""Files that are whole or not there: written beside their place, then moved to it."""

import os
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a text file, or leaves what was there."""
    write(path, lambda beside: beside.write_text(text))


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Writes a file with `save(path_beside)`, or leaves what was there."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} must be in a folder that exists, but {path.parent} does not."
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be a file, but is a folder.")
    beside = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        save(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Makes sure, before hours of work, that a file can be written; makes its folder.

    Raises:
        OSError: if it cannot.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be a file, but is a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.new{path.suffix}")
    beside.write_text("")
    beside.unlink()
