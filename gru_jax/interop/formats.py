"""Files of all frameworks by one pair of functions; the ending says which it is.

net, params = interop.read("encoder.onnx")
interop.leftovers("encoder.onnx")  # ("head.weight", "head.bias"): read leaves them behind
interop.write("encoder.pt", net, params)
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from gru_jax import files
from gru_jax.files import FormatName
from gru_jax.interop import safetensors
from gru_jax.interop.contents import Contents, list_names, shorten
from gru_jax.interop.equinox import read_equinox, write_equinox
from gru_jax.interop.flax.file import read_flax, write_flax
from gru_jax.interop.haiku import read_modules, to_haiku
from gru_jax.interop.keras.file import read_keras, write_keras
from gru_jax.interop.kinds import ANY_KIND
from gru_jax.interop.onnx.exporting import write_onnx
from gru_jax.interop.onnx.importing import read_model
from gru_jax.interop.torch.exporting import to_torch_state, write_torch
from gru_jax.interop.torch.importing import read_state, read_torch
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

ARRAYS = (".npz", ".safetensors")
"""Endings of files that hold arrays by name, of PyTorch or of Haiku."""


class Format(NamedTuple):
    """A framework's files.

    Attributes:
        endings: that no other format has; "" is a folder's.
        read: `(path, name) -> Contents`.
        write: `(path, net, params)`.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, str | None], Contents]
    write: Callable[[Path, Cell | Layer, Params], None]


def read(
    path: str | os.PathLike[str], *, format: FormatName | None = None, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns the net in a file, and its parameters; nothing is ever unpickled.

    Args:
        path: of a file or, with Flax, a folder. PyTorch's and Haiku's arrays may also stand in
            `.npz` and `.safetensors`: they are known by their names.
        format: of the file; None is told by its ending, and by the names of its arrays.
        name: which cell, where the file holds more: `encoder.gru` in a state dict, a node's name in
            ONNX, `encoder/rnn` in Flax and Haiku, a layer's name in Keras, its number in a stack of
            gru_jax.

    Returns:
        The net and its parameters, as from the `from_*` function of the format.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds no such cell, or needs a framework that is not
            installed.
    """
    return _read(Path(path), format, name)[:2]


def leftovers(
    path: str | os.PathLike[str], *, format: FormatName | None = None, name: str | None = None
) -> tuple[str, ...]:
    """Returns the names of the arrays in a file that `read` leaves behind, such as a linear head's.

    Args:
        path: as in `read`.
        format: as in `read`.
        name: as in `read`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `read` raises.
    """
    return _read(Path(path), format, name).leftovers


def _read(path: Path, format: FormatName | None, name: str | None) -> Contents:
    if not path.exists():
        raise FileNotFoundError(f"read: no file {path}.")
    if not path.is_dir() and not path.stat().st_size:
        raise ValueError(f"read: {path} must hold a net, but is empty.")
    with _open("read", format or _guess(path)) as row:
        if path.is_dir() and "" not in row.endings:
            raise ValueError(f"read: {path} must be a file, but is a folder.")
        try:
            return row.read(path, name)
        except ValueError as error:
            message = str(error) if str(path) in str(error) else f"{path}: {error}"
            # Names and attributes of a damaged file may be of any length.
            raise ValueError(shorten(message, 290 + len(str(path)))) from error


def write(
    path: str | os.PathLike[str],
    net: Cell | Layer,
    params: Params,
    *,
    format: FormatName | None = None,
) -> None:
    """Writes a net in a framework's own form, atomically, and replaces an existing file.

    Args:
        path: of the file. PyTorch's and Haiku's arrays may also go to `.npz`, PyTorch's to
            `.safetensors`, where `format` says so.
        net: a cell or a layer.
        params: its parameters.
        format: of the file; None is told by its ending.

    Raises:
        ValueError: where the framework cannot be this net, and why, or is not installed.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    with _open("write", format or _by_ending("write", path)) as row:
        row.write(path, net, params)


@contextmanager
def _open(function: str, format: FormatName) -> Iterator[Format]:
    """Yields a format; an error names the package if its functions lack one."""
    if format not in FORMATS:
        raise ValueError(f"{function}: format must be one of {', '.join(FORMATS)}, got {format!r}.")
    try:
        yield FORMATS[format]
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{function}: format {format} needs a package that is not installed: "
            f"pip install {error.name}."
        ) from error


def _read_haiku(path: Path, name: str | None) -> Contents:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, array in _read_arrays(path).items():
        module, _, leaf = key.rpartition("/")
        modules.setdefault(module, {})[leaf] = array
    return read_modules(modules, name)


def _read_torch(path: Path, name: str | None) -> Contents:
    return read_state(_read_arrays(path) if path.suffix in ARRAYS else read_torch(path), name)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    is_npz = path.suffix != ".safetensors"
    return files.read_npz(path) if is_npz else safetensors.read_arrays("read", path)


def _write_torch(path: Path, net: Cell | Layer, params: Params) -> None:
    if path.suffix in ARRAYS:
        _write_arrays(path, to_torch_state(net, params))
    else:
        write_torch(path, net, params)


def _write_haiku(path: Path, net: Cell | Layer, params: Params) -> None:
    modules = to_haiku(net, params)
    arrays = {f"{m}/{k}": a for m, arrays in modules.items() for k, a in arrays.items()}
    _write_arrays(path, arrays)


def _write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    if path.suffix == ".safetensors":
        safetensors.save(path, None, arrays)
        return
    narrow = {name: np.asarray(array) for name, array in arrays.items()}
    if alien := {str(a.dtype) for a in narrow.values() if a.dtype.kind != "f"}:
        raise ValueError(f"write: an .npz must hold NumPy's own dtypes, got {', '.join(alien)}.")
    buffer = io.BytesIO()  # To a path, NumPy would add `.npz`.
    np.savez(buffer, allow_pickle=False, **narrow)
    files.write(path, lambda beside: beside.write_bytes(buffer.getvalue()))


FORMATS: dict[FormatName, Format] = {
    "torch": Format((".pt", ".pth"), _read_torch, _write_torch),
    "keras": Format((".keras", ".h5"), read_keras, write_keras),
    "flax": Format((".msgpack", ""), read_flax, write_flax),
    "haiku": Format((), _read_haiku, _write_haiku),
    "equinox": Format((".eqx",), read_equinox, write_equinox),
    "onnx": Format((".onnx",), read_model, write_onnx),
    "safetensors": Format((".safetensors",), safetensors.read_own, safetensors.save),
}


def _guess(path: Path) -> FormatName:
    """Returns the format of an existing file or folder."""
    if path.is_dir():
        return "flax"
    if path.suffix == ".safetensors":
        header, shapes = safetensors.read_header("read", path)
        names = set() if "architecture" in header else set(shapes)
    elif path.suffix == ".npz":
        names = set(files.read_npz(path))
    else:
        return _by_ending("read", path)
    if any("weight_ih" in name for name in names):
        return "torch"
    if any(name.endswith(("w_i", "/linear/w")) for name in names):
        return "haiku"
    if path.suffix == ".safetensors":
        return "safetensors"
    raise ValueError(
        f"read: {path} must hold {ANY_KIND} by PyTorch's or Haiku's names, got {list_names(names)}."
    )


def _by_ending(function: str, path: Path) -> FormatName:
    endings: dict[str, FormatName] = {
        ending: name for name, row in FORMATS.items() for ending in row.endings if ending
    }
    if path.suffix in endings:
        return endings[path.suffix]
    names = "torch or haiku" if path.suffix == ".npz" else ", ".join(FORMATS)
    raise ValueError(
        f"{function}: {path} must end in one of {' '.join(endings)}, or the format be said: "
        f"{names}."
    )
