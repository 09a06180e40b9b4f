"""Piano rolls `[time, notes]`, 1 where a note sounds, from MATLAB's files.

Files are not trusted: sizes and values are checked, and a misfit is one clear error.
"""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from gru_jax.files import check_size

Roll: TypeAlias = UInt8[np.ndarray, "time notes"]
NAMES = ("traindata", "validdata", "testdata")


def read_parts(path: Path) -> list[list[Roll]]:
    """Returns the pieces to train on, to validate with and to test with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or one of its parts is not there or holds something else.
    """
    cells, parts, notes = _read_cells(path), [], None
    for name in NAMES:
        if name not in cells:
            raise ValueError(f"{path} must have {name}, got {', '.join(cells) or 'nothing'}.")
        pieces = []
        for i, piece in enumerate(cells[name]):
            pieces.append(check_roll(f"{path}: {name}[{i}]", piece, notes))
            notes = pieces[-1].shape[1]
        if not pieces:
            raise ValueError(f"{path}: {name} must have one piece or more, got none.")
        parts.append(pieces)
    return parts


def read_pieces(path: Path, notes: int) -> dict[str, Roll]:
    """Returns all pieces of a file by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, holds no piece, or holds something else.
    """
    pieces = {
        f"{name}[{i}]": check_roll(f"{path}: {name}[{i}]", piece, notes)
        for name, cell in _read_cells(path).items()
        for i, piece in enumerate(cell)
    }
    if not pieces:
        raise ValueError(f"{path} must have one piece or more, got none.")
    return pieces


def check_roll(name: str, piece: Any, notes: int | None) -> Roll:
    """Returns a piece; raises ValueError unless it has two steps or more of 0 and 1."""
    roll = np.asarray(piece)
    width = "notes" if notes is None else notes
    if roll.ndim != 2 or roll.dtype.kind not in "buif" or len(roll) < 2 or not roll.shape[1]:
        raise ValueError(
            f"{name} must be numbers [time, {width}] with two steps or more, "
            f"got {list(roll.shape)} {roll.dtype}."
        )
    if notes is not None and roll.shape[1] != notes:
        raise ValueError(f"{name} must have {notes} columns, one a note, got {roll.shape[1]}.")
    wrong = np.argwhere((roll != 0) & (roll != 1))
    if len(wrong):
        step, note = wrong[0]
        raise ValueError(
            f"{name} must be 0 or 1 everywhere, got {roll[step, note]} in row {step + 1}, "
            f"column {note + 1}."
        )
    return roll.astype(np.uint8)


def _read_cells(path: Path) -> dict[str, list[Any]]:
    """Returns the content of a file's cell arrays, and its other arrays as cells of one."""
    from scipy.io import loadmat

    check_size(path)
    try:
        with path.open("rb") as file:
            content = loadmat(file)
    except NotImplementedError as error:
        raise ValueError(
            f"{path} must be a MATLAB file of version 5 to 7, got one of version 7.3: "
            "save it again with -v7."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # What SciPy raises at damage is a long list.
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} must be a whole MATLAB file, .mat, but: {reason}.") from error
    arrays = {name: array for name, array in content.items() if not name.startswith("__")}
    return {
        name: list(array.ravel()) if array.dtype == object else [array]
        for name, array in arrays.items()
    }
