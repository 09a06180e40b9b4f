"""Any net of gru_jax in one file: safetensors, with the architecture in the header.

    save(path, net, params)          {"architecture": '{"builder": "stack", "parts": [...]}', ...}
    net, params = load(path)         0.forward.W_r [76, 64], 0.forward.b_r [64], ...

Each array is stored by its path in the parameters. `load` builds the net from its architecture and
takes the structure of the parameters from `net.init`, so it knows no class of them. Nothing in a
file is ever run.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gru_jax import files
from gru_jax.architecture import Architecture, as_dict, build, from_dict
from gru_jax.interop.arrays import exact
from gru_jax.interop.contents import Contents, damaged
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_kind
from gru_jax.sequence.checks import input_of
from gru_jax.types import Cell, Params

FORMAT = "gru_jax 1"
MOST_WITHOUT = 100
"""Largest number of layers beyond one for each array; these have no parameters."""


def save(
    path: str | os.PathLike[str],
    net: Cell | Layer | None,
    params: Params,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a net and its parameters to one safetensors file, atomically.

    Args:
        path: of the file, usually ending in `.safetensors`; an existing file is replaced.
        net: the cell or layer; None saves any pytree of arrays, which `load_params` reads.
        params: its parameters: arrays in NamedTuples, tuples, lists and dicts.
        metadata: more texts for the header, which `load_metadata` returns.

    Raises:
        ValueError: if the net has no architecture, such as one with a function for an option, the
            parameters are not its own, or a leaf is no array of numbers.
        ModuleNotFoundError: without the package safetensors, of the extra `app`.
        OSError: if the file cannot be written.
    """
    check_kind("save: path must be a path, first of (path, net, params)", path, (str, os.PathLike))
    check_kind(
        "save: net must be a Cell, a Layer or None, second of (path, net, params)",
        net,
        (Cell, Layer, NoneType),
    )
    if taken := {"format", "architecture", "input_size"} & set(metadata or ()):
        raise ValueError(
            "save: metadata must not have format, architecture and input_size, which are written "
            f"for the net, got {', '.join(sorted(taken))}."
        )
    leaves = _leaves("save", params)
    for name, leaf in leaves.items():
        dtype = getattr(leaf, "dtype", type(leaf))
        if getattr(dtype, "kind", "") not in tuple("biuf") and dtype != jnp.bfloat16:
            raise ValueError(f"save: params.{name} must be an array of numbers, got {dtype}.")
    package = files.import_package("save", "safetensors", "safetensors.numpy")
    # Copies, for safetensors takes the memory of an array as it lies.
    arrays = {name: np.array(leaf, order="C") for name, leaf in leaves.items()}
    header = {"format": FORMAT, **(metadata or {})}
    if net is not None:
        if net.architecture is None:
            raise ValueError(
                "save: net must be built by gru_jax with activations given by name, got one that "
                "holds a function of its own; save(path, None, params) keeps the arrays."
            )
        header["architecture"] = json.dumps(as_dict(net.architecture))
        header["input_size"] = str(input_size(net, params))

    def write(beside: Path) -> None:
        package.save_file(arrays, beside, header)
        _sort_texts(beside)

    files.write(Path(path), write)


def _sort_texts(path: Path) -> None:
    """Sorts the texts of a header, whose order is random: equal nets then are equal files."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(
            json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        )


def load(path: str | os.PathLike[str]) -> tuple[Cell | Layer, Params]:
    """Returns the net and the parameters that `save` wrote, bit for bit.

    The initialisers of the net are the defaults of its builders; all else is unchanged.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without the package safetensors, of the extra `app`.
        ValueError: if it is damaged, has no net in its header, or not the arrays of that net.
    """
    header, shapes = read_header("load", path)
    if "architecture" not in header or "input_size" not in header:
        raise ValueError(
            f"load: {path} must have a net of gru_jax in its header, got none: it holds arrays "
            "alone, which load_params reads."
        )
    if header.get("format") != FORMAT:
        raise ValueError(
            f"load: {path} must be of the format {FORMAT!r}, got {header.get('format')!r}: another "
            "version of gru_jax wrote it."
        )
    try:
        architecture = from_dict(json.loads(header["architecture"]))
        if _count_layers(architecture) > len(shapes) + MOST_WITHOUT:
            raise ValueError(f"its layers must be those of {len(shapes)} arrays, got more")
        net = build(architecture)
        like = _shapes(net, int(header["input_size"]))
    except Exception as error:  # Whatever a lying header makes json, the builders and JAX raise.
        needed = "a file with a net in its header that can be built"
        raise damaged("load", path, needed, error) from error
    return net, _fill("load", path, like, shapes)


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the texts in the header of a safetensors file; raises as `load_params` does."""
    return dict(read_header("load_metadata", path)[0])


def load_params(path: str | os.PathLike[str], like: Params) -> Params:
    """Returns the arrays of a safetensors file in the structure of others.

    Args:
        path: of a file that `save` wrote, or any other program.
        like: a pytree of arrays, or of `jax.ShapeDtypeStruct`s, with the same paths and shapes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or paths or shapes are others.
    """
    return _fill("load_params", path, like, read_header("load_params", path)[1])


def read_own(path: Path, name: str | None) -> Contents:
    """Returns the net in a file, or one layer of its stack by its number, from 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `load` raises, or there is no such layer.
    """
    net, params = load(path)
    if name is None:
        return Contents(net, params)
    whole = net.architecture
    layers = whole.parts if whole and whole.builder == "stack" else ()
    known = [str(number) for number in range(len(layers))]
    if name not in known:
        raise ValueError(
            f"read: name must be None or the number of a layer in the stack, {' '.join(known)}, "
            f"got {name!r}."
        )
    others = (key for key in read_header("read", path)[1] if key.partition(".")[0] != name)
    return Contents(build(layers[int(name)]), params[int(name)], tuple(others))


def read_header(
    function: str, path: str | os.PathLike[str]
) -> tuple[Mapping[str, str], dict[str, tuple[int, ...]]]:
    """Returns the texts in the header of a safetensors file, and each array's shape by its name.

    `function` is the name to blame in an error.
    """
    with _open(function, path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        return file.metadata() or {}, shapes


def read_arrays(function: str, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file by name."""
    with _open(function, path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}


@contextlib.contextmanager
def _open(function: str, path: str | os.PathLike[str]) -> Iterator[Any]:
    package = files.import_package(function, "safetensors", "safetensors")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{function}: no file {path}.")
    try:
        with package.safe_open(path, framework="numpy") as file:
            yield file
    except (package.SafetensorError, AttributeError, TypeError, ValueError, MemoryError) as error:
        raise damaged(function, path, "a whole safetensors file", error) from error


def _leaves(function: str, tree: Params) -> dict[str, jax.Array]:
    """Returns the leaves of a tree by their paths."""
    leaves = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"{function}: params must have one array a path, got two {name}.")
        leaves[name] = leaf
    return leaves


def _count_layers(entry: Architecture) -> int:
    return sum(map(_count_layers, entry.parts)) if entry.parts else 1


def _shapes(net: Cell | Layer, input_size: int) -> Params:
    return jax.eval_shape(lambda key: net.init(key, input_size), jax.random.key(0))


def input_size(net: Cell | Layer, params: Params) -> int:
    """Returns the input size for which `net.init` makes parameters of these shapes.

    Raises:
        ValueError: if there is none.
    """
    shapes, sizes = jax.tree.map(np.shape, params), []
    with contextlib.suppress(Exception):  # Wrong parameters raise below.
        sizes += [size for size in input_of(net, params).shape[-1:] if size]
    for rows, *columns in filter(None, map(np.shape, jax.tree.leaves(params))):
        # The first weights act on x and the state, or on x alone.
        sizes += [rows - sum(columns), rows, *columns]
    for size in dict.fromkeys([*sizes, *range(1, max(sizes, default=1) + 1)]):
        # A net may refuse a size: residual does where inputs and outputs differ.
        with contextlib.suppress(Exception):
            if size > 0 and jax.tree.map(np.shape, _shapes(net, size)) == shapes:
                return size
    raise ValueError(f"save: params must be those of the net, got {shapes}.")


def _fill(
    function: str, path: str | os.PathLike[str], like: Params, shapes: dict[str, tuple[int, ...]]
) -> Params:
    needed = {name: np.shape(leaf) for name, leaf in _leaves(function, like).items()}
    for name in sorted(needed.keys() | shapes.keys()):
        if needed.get(name) != shapes.get(name):
            raise ValueError(
                f"{function}: {path} must have {name} {needed.get(name, 'nowhere')}, "
                f"got {shapes.get(name, 'nothing')}."
            )
    arrays = read_arrays(function, path)  # now that they are known not to be too large
    leaves = [exact(function, f"{path}: {name}", arrays[name]) for name in needed]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
