"""Files that are whole or not there: written beside their place, then moved to it."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a text file, or leaves what was there."""
    write(path, lambda beside: beside.write_text(text))


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Writes a file with `save(path_beside)`, or leaves what was there.

    The permissions of a file that is replaced are kept, and a new one has the usual ones, whatever
    `save` gives it; a link to a file is itself replaced.

    Raises:
        OSError: if it cannot be written, whatever `save` makes of that.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} must be in a folder that exists, but {path.parent} does not."
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be a file, but is a folder.")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} must be a file, but is a device or a pipe.")
    beside = _beside(path)
    try:
        beside.touch()
        mode = (path if path.is_file() else beside).stat().st_mode
        save(beside)
        beside.chmod(mode)
        os.replace(beside, path)
    except (OSError, ValueError):
        raise
    except Exception as error:  # What libraries make of a full disk is of many kinds.
        raise OSError(f"{path} must be written whole, but: {error}") from error
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
    beside = _beside(path)
    beside.write_text("")
    beside.unlink()


def _beside(path: Path) -> Path:
    """Returns a place that nothing has, nor will have: others may write the same file."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
