"""Atomic writes, arrays from untrusted files, and the names of formats and packages.

The command reads this module before it imports NumPy or JAX.
"""

import importlib.util
import os
import re
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy

FormatName: TypeAlias = Literal["torch", "keras", "flax", "haiku", "equinox", "onnx", "safetensors"]
"""The name of a file format in `gru_jax.interop`."""


def is_installed(module: str) -> bool:
    """Returns whether a module exists. Imports its parent package, but not the module."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
    except ValueError:  # A program has put a module without a spec in its place.
        return True


def import_package(function: str, package: str, module: str) -> Any:
    """Returns a module of a package from the extra `app`.

    Raises:
        ModuleNotFoundError: if it is not installed; the message names the function and the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # The package is there, but lacks another.
        message = f"{function} needs {package}: pip install 'gru_jax[app]'."
        raise ModuleNotFoundError(message, name=package) from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write(path, lambda beside: beside.write_text(text))


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Writes a file atomically with `save(path_beside)`.

    A replaced file keeps its permissions. A new file gets the default ones, whatever `save` sets.
    A link is replaced, not followed.

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
        flush(beside)  # before the rename, or a power failure could leave an empty file
        os.replace(beside, path)
        flush(path.parent)
    except ValueError:
        raise
    except Exception as error:  # Libraries raise many kinds of errors for a full disk.
        if isinstance(error, OSError) and error.filename:
            raise
        raise OSError(f"{path} must be written whole, but: {error}.") from error
    finally:
        beside.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    folder = path.is_dir()
    if folder and sys.platform == "win32":  # which cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_leftovers(folder: Path) -> list[Path]:
    """Returns the temporary files that processes killed in `write` left below a folder."""
    return [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name) and path.is_file()]


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


LEFTOVER = re.compile(r"\..*\.[0-9a-f]{32}(\.\w+)?")


def _beside(path: Path) -> Path:
    """Returns a unique temporary path: other processes may write the same file."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")


MAX_BYTES = 1 << 30
"""Largest file, unpacked."""


def check_size(path: Path) -> None:
    """Checks that a file exists and is not too large, even unpacked.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file, but there is none.")
    size = path.stat().st_size
    if size <= MAX_BYTES:
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    size = sum(member.file_size for member in archive.infolist())
        except Exception as error:  # zipfile raises many kinds of errors for a damaged file
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"{path} must be a whole archive, but: {reason}.") from error
    if size > MAX_BYTES:
        raise ValueError(f"{path} must be {MAX_BYTES} bytes or less, unpacked, got {size}.")


def read_npz(path: Path) -> "dict[str, numpy.ndarray]":
    """Returns the arrays of an `.npz` file by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, too large, or holds something else.
    """
    import numpy as np

    check_size(path)
    try:
        if not zipfile.is_zipfile(path):  # np.load would leave the file open
            raise ValueError("it is no zip file")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other files than .npy")
    except Exception as error:  # zlib, zipfile and NumPy raise many kinds.
        reason = " ".join(str(error).split())[:120]  # zipfile quotes bytes of the file
        raise ValueError(f"{path} must be a whole .npz, without pickles: {reason}.") from error
    return arrays
