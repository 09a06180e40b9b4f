"""Flax's files: `.msgpack`, and folders that Orbax wrote.

path  ->  a tree of arrays  ->  the cells in it  ->  net, params
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gru_jax import files
from gru_jax.interop.contents import Contents, damaged
from gru_jax.interop.flax.linen import to_linen
from gru_jax.interop.flax.modules import read_tree
from gru_jax.interop.flax.places import bare, find, list_arrays, unbox
from gru_jax.interop.limits import Limits, levels_within
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

STATED = Limits("a file of variables without a module")
"""The limits of linen's variables without the module, which would say more."""


def read_flax(path: Path, name: str | None) -> Contents:
    """Returns the net in linen's variables or nnx's state, in a `.msgpack` or an Orbax folder.

    The module may be Flax's own, or of `gru_jax.linen` or `gru_jax.nnx`. A file holds no
    activations and no directions: the defaults of a new module are assumed. The folder of a
    `CheckpointManager` may hold all steps, one step, or one item.
    """
    item = _find_item(path) if path.is_dir() else path
    if not item.is_dir():
        files.check_size(item)
    try:
        whole = unbox(_restore(item))
        tree = bare(whole)
    except Exception as error:  # what msgpack, NumPy, Orbax and TensorStore raise at damage
        raise damaged("read", path, "a whole checkpoint of Flax's", error) from error
    for key in find("read", tree, name):
        tree = tree[key]
    taken = {id(array) for _, array in list_arrays(tree)}
    leftovers = (place for place, array in list_arrays(whole) if id(array) not in taken)
    return Contents(*read_tree("read", None, tree, None), tuple(leftovers))


def write_flax(path: Path, net: Cell | Layer, params: Params) -> None:
    """Writes linen's variables as `flax.serialization.to_bytes` does, atomically."""
    from flax import serialization

    levels_within(STATED, "write", net, params)
    _, variables = to_linen(net, params)
    content = serialization.to_bytes(variables)
    files.write(path, lambda beside: beside.write_bytes(content))


def _restore(path: Path) -> Any:
    """Returns the tree in a `.msgpack`, or in a folder if its arrays and blocks are small."""
    if path.is_file():
        from flax import serialization

        return serialization.msgpack_restore(path.read_bytes())
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as reader:
        described = reader.metadata(path.absolute()).item_metadata
        if described is None:
            raise ValueError("it has no metadata of arrays")
        size = 0
        for leaf in jax.tree.leaves(described.tree):
            if getattr(leaf, "dtype", None) is not None:
                block = getattr(getattr(leaf, "storage", None), "chunk_shape", None) or ()
                size += max(map(math.prod, (leaf.shape, block))) * np.dtype(leaf.dtype).itemsize
        if size > files.MAX_BYTES:  # too large an array or a block ends Python
            raise ValueError(f"its arrays must be {files.MAX_BYTES} bytes or less, got {size}")
        return reader.restore(path.absolute())


def _find_item(path: Path) -> Path:
    """Returns the folder of arrays: this one, or the only item in it or in its last step."""
    if (path / "_METADATA").exists():
        return path
    if steps := [step for step in path.iterdir() if step.name.isdecimal() and step.is_dir()]:
        return _find_item(max(steps, key=lambda step: int(step.name)))
    items = {metadata.parent.name: metadata.parent for metadata in path.glob("*/_METADATA")}
    if len(items) > 1 and "default" not in items:
        known = " or ".join(str(item) for _, item in sorted(items.items()))
        raise ValueError(
            f"{path} must be one item of a checkpoint, got {len(items)}: give {known}."
        )
    return items.get("default", next(iter(items.values()), path))
