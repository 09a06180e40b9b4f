"""Files of all frameworks by one pair of functions; the ending says which it is.

net, params = interop.read("encoder.onnx")
interop.write("encoder.pt", net, params)
"""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array

from gru_jax import files
from gru_jax.files import read_npz
from gru_jax.interop import safetensors
from gru_jax.interop.equinox import read_equinox, to_equinox
from gru_jax.interop.flax.files import read_flax, write_flax
from gru_jax.interop.haiku import from_haiku, to_haiku
from gru_jax.interop.keras.file import check_file, read_keras
from gru_jax.interop.keras.module import to_keras
from gru_jax.interop.onnx.graph import LARGEST
from gru_jax.interop.onnx.model import from_onnx, to_onnx
from gru_jax.interop.torch.module import from_torch, to_torch, to_torch_state
from gru_jax.interop.torch.state import read_torch
from gru_jax.layers.layer import Layer
from gru_jax.layers.recurrent import recurrent
from gru_jax.types import Cell, Params

FormatName: TypeAlias = Literal["torch", "keras", "flax", "haiku", "equinox", "onnx", "safetensors"]


class Format(NamedTuple):
    """A framework's files.

    Attributes:
        endings: that are its alone; "" is a folder's.
        read: `(path, name) -> (net, params)`.
        write: `(path, net, params)`.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, str | None], tuple[Cell | Layer, Params]]
    write: Callable[[Path, Cell | Layer, Params], None]


def read(
    path: str | os.PathLike[str], *, format: FormatName | None = None, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns the net in a file, and its parameters; nothing is ever unpickled.

    Args:
        path: of a file or, with Flax, a folder. PyTorch's and Haiku's arrays may also stand in
            `.npz` and `.safetensors`: they are known by their names.
        format: of the file; None is told by its ending, and by the names of its arrays.
        name: which GRU, where the file holds more: `encoder.gru` in a state dict, a node's name in
            ONNX, `encoder/rnn` in Flax and Haiku, a layer's name in Keras, its number in a stack of
            ours.

    Returns:
        The net and its parameters, as from the `from_*` function of the format.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds no such GRU, or needs a framework that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read: no file {path}.")
    if not path.is_dir() and not path.stat().st_size:
        raise ValueError(f"read: {path} must hold a net, but is empty.")
    said = format or _guess(path)
    form = _find("read", said)
    if path.is_dir() and "" not in form.endings:
        raise ValueError(f"read: {path} must be a file, but is a folder.")
    try:
        return form.read(path, name)
    except ModuleNotFoundError as error:
        raise _missing("read", said, error) from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def write(
    path: str | os.PathLike[str],
    net: Cell | Layer,
    params: Params,
    *,
    format: FormatName | None = None,
) -> None:
    """Writes a net in a framework's own form, whole or not at all; a file that is there goes.

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
    said = format or _by_ending("write", path)
    try:
        _find("write", said).write(path, net, params)
    except ModuleNotFoundError as error:
        raise _missing("write", said, error) from error


def _read_own(path: Path, name: str | None) -> tuple[Cell | Layer, Params]:
    net, params = safetensors.load(path)
    return (net, params) if name is None else safetensors.take_layer(net, params, name)


def _read_equinox(path: Path, name: str | None) -> tuple[Cell | Layer, Params]:
    if name is not None:
        raise ValueError(f"read: name must be None, for {path} holds a single cell, got {name!r}.")
    return read_equinox(path)


def _read_haiku(path: Path, name: str | None) -> tuple[Cell | Layer, Params]:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, array in _read_arrays(path).items():
        module, _, leaf = key.rpartition("/")
        modules.setdefault(module, {})[leaf] = array
    return from_haiku(modules, name=name)


def _read_torch(path: Path, name: str | None) -> tuple[Cell | Layer, Params]:
    plain = path.suffix in (".npz", ".safetensors")
    return from_torch(_read_arrays(path) if plain else read_torch(path), name=name)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return safetensors.read_arrays("read", path)
    return read_npz(path)


def _write_torch(path: Path, net: Cell | Layer, params: Params) -> None:
    if path.suffix in (".npz", ".safetensors"):
        _write_arrays(path, to_torch_state(net, params))
    else:
        import torch

        files.write(path, partial(torch.save, to_torch(net, params).state_dict()))


def _write_haiku(path: Path, net: Cell | Layer, params: Params) -> None:
    modules = to_haiku(net, params)
    arrays = {f"{m}/{k}": a for m, arrays in modules.items() for k, a in arrays.items()}
    _write_arrays(path, arrays)


def _write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    if path.suffix == ".safetensors":
        safetensors.save(path, None, arrays)
        return
    narrow = {name: np.asarray(array) for name, array in arrays.items()}
    if odd := {str(a.dtype) for a in narrow.values() if a.dtype.kind != "f"}:
        raise ValueError(f"write: an .npz must hold NumPy's own dtypes, got {', '.join(odd)}.")
    buffer = io.BytesIO()  # To a path, NumPy would add an ending of its own.
    np.savez(buffer, allow_pickle=False, **narrow)
    files.write(path, lambda beside: beside.write_bytes(buffer.getvalue()))


def _write_equinox(path: Path, net: Cell | Layer, params: Params) -> None:
    cell = to_equinox(net, params)
    import equinox as eqx

    buffer = io.BytesIO()  # To a path, Equinox would add an ending of its own.
    eqx.tree_serialise_leaves(buffer, cell)
    files.write(path, lambda beside: beside.write_bytes(buffer.getvalue()))


def _write_keras(path: Path, net: Cell | Layer, params: Params) -> None:
    # Keras' files are of models.
    model = to_keras(recurrent(net) if isinstance(net, Cell) else net, params)
    check_file("write", path, jax.tree.leaves(params)[0].dtype)
    files.write(path, model.save)


def _write_onnx(path: Path, net: Cell | Layer, params: Params) -> None:
    size = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(params))
    most = LARGEST - 2**24  # leaves room for the second biases and the names
    if size > most:
        raise ValueError(
            f"write: params must be {most} bytes or fewer, got {size}: protobuf holds no more; "
            "onnx.save(interop.to_onnx(net, params), path, save_as_external_data=True) puts them "
            "beside the model."
        )
    model = to_onnx(net, params).SerializeToString()
    files.write(path, lambda beside: beside.write_bytes(model))


FORMATS: dict[FormatName, Format] = {
    "torch": Format((".pt", ".pth"), _read_torch, _write_torch),
    "keras": Format((".keras", ".h5"), read_keras, _write_keras),
    "flax": Format((".msgpack", ""), read_flax, write_flax),
    "haiku": Format((), _read_haiku, _write_haiku),
    "equinox": Format((".eqx",), _read_equinox, _write_equinox),
    "onnx": Format((".onnx",), lambda path, name: from_onnx(path, name=name), _write_onnx),
    "safetensors": Format((".safetensors",), _read_own, safetensors.save),
}


def _find(function: str, format: FormatName) -> Format:
    if format not in FORMATS:
        raise ValueError(f"{function}: format must be one of {', '.join(FORMATS)}, got {format!r}.")
    return FORMATS[format]


def _guess(path: Path) -> FormatName:
    """Returns the format of a file or a folder that is there."""
    if path.is_dir():
        return "flax"
    if path.suffix == ".safetensors":
        header, shapes = safetensors.read_header("read", path)
        names = set() if "architecture" in header else set(shapes)
    elif path.suffix == ".npz":
        names = set(read_npz(path))
    else:
        return _by_ending("read", path)
    if any("weight_ih" in name for name in names):
        return "torch"
    if any(name.endswith("w_i") for name in names):
        return "haiku"
    if path.suffix == ".safetensors":
        return "safetensors"
    raise ValueError(
        f"read: {path} must hold a GRU by PyTorch's or Haiku's names, got {', '.join(names)[:200]}."
    )


def _by_ending(function: str, path: Path) -> FormatName:
    for name, format in FORMATS.items():
        if path.suffix and path.suffix in format.endings:
            return name
    known = " ".join(ending for form in FORMATS.values() for ending in form.endings if ending)
    told = ", ".join(FORMATS)
    if path.suffix == ".npz":
        told = "torch or haiku"
    raise ValueError(
        f"{function}: {path} must end in one of {known}, or the format be said: {told}."
    )


def _missing(function: str, format: FormatName, error: ModuleNotFoundError) -> ValueError:
    return ValueError(
        f"{function}: format {format} needs a package that is not installed: "
        f"pip install {error.name}."
    )
