"""Arrays from files that are not trusted: nothing is unpickled, sizes are checked."""

import zipfile
from pathlib import Path

import numpy as np

MAX_BYTES = 1 << 30
"""Largest file, unpacked."""


def check_size(path: Path) -> None:
    """Raises unless there is a file, and not an enormous one, also when it is unpacked.

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
        except Exception as error:  # zipfile raises a dozen things at damage
            raise ValueError(f"{path} must be a whole archive, but: {error}.") from error
    if size > MAX_BYTES:
        raise ValueError(f"{path} must be {MAX_BYTES} bytes or less, unpacked, got {size}.")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, too large, or holds something else.
    """
    check_size(path)
    try:
        if not zipfile.is_zipfile(path):  # np.load would leave the file open
            raise ValueError("it is no zip file")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other files than .npy")
    except Exception as error:  # What zlib, zipfile and NumPy raise at damage is a long list.
        raise ValueError(f"{path} must be a whole .npz, without pickles: {error}.") from error
    return arrays
