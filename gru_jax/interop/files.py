"""Nets in plain files: safetensors, with the architecture in the header.

A file holds the arrays of the parameters by their paths (`0.forward.W_r`), and in its header, as
text, what builds the net again. Nothing in it is ever run.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gru_jax import atomic
from gru_jax.architecture import as_dict, from_dict
from gru_jax.building import build
from gru_jax.interop.arrays import exact
from gru_jax.types import Cell, Layer, Params

FORMAT = "gru_jax 1"


def save(path: str | os.PathLike[str], net: Cell | Layer | None, params: Params) -> None:
    """Writes parameters, and what they are of, to a safetensors file; whole or not at all.

    Args:
        path: of the file, usually ending in `.safetensors`; a file that is there is replaced.
        net: whose parameters they are; None for any other pytree of arrays, which `load_params`
            reads.
        params: arrays in NamedTuples, tuples, lists and dicts.

    Raises:
        ValueError: if the net has a function for an option, so that there is no writing it down,
            or the parameters are not its own, or no arrays of numbers.
        OSError: if the file cannot be written.
    """
    from safetensors.numpy import save_file

    leaves = _leaves("save", params)
    for name, leaf in leaves.items():
        dtype = getattr(leaf, "dtype", type(leaf))
        if getattr(dtype, "kind", "") not in tuple("biuf") and dtype != jnp.bfloat16:
            raise ValueError(f"save: params.{name} must be an array of numbers, got {dtype}.")
    # Copies, for safetensors takes the memory of an array as it lies.
    arrays = {name: np.array(leaf, order="C") for name, leaf in leaves.items()}
    header = {"format": FORMAT}
    if net is not None:
        if net.architecture is None:
            raise ValueError(
                "save: net must be built by gru_jax with activations given by name, got one that "
                "holds a function of its own; save(path, None, params) keeps the arrays."
            )
        header["architecture"] = json.dumps(as_dict(net.architecture))
        header["input_size"] = str(input_size(net, params))
    atomic.write(Path(path), lambda beside: save_file(arrays, beside, header))


def load(path: str | os.PathLike[str]) -> tuple[Cell | Layer, Params]:
    """Returns the net and the parameters that `save` wrote, bit for bit.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, has no net in its header, or other arrays than that net's.
    """
    header, arrays = read_safetensors("load", path)
    if "architecture" not in header or "input_size" not in header:
        raise ValueError(
            f"load: {path} must have a net of gru_jax in its header, got none: it holds arrays "
            "alone, which load_params reads."
        )
    try:
        net = build(from_dict(json.loads(header["architecture"])))
        like = _shapes(net, int(header["input_size"]))
    except Exception as error:  # Whatever a lying header makes json, the builders and JAX raise.
        raise ValueError(
            f"load: {path} must have a net in its header that can be built, but: {error}"
        ) from error
    return net, _fill("load", path, like, arrays)


def load_params(path: str | os.PathLike[str], like: Params) -> Params:
    """Returns the arrays of a safetensors file in the structure of others.

    Args:
        path: of a file that `save` wrote, or any other program.
        like: a pytree of arrays, or of `jax.ShapeDtypeStruct`s, with the same paths and shapes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or paths or shapes are others.
    """
    return _fill("load_params", path, like, read_safetensors("load_params", path)[1])


def read_safetensors(
    function: str, path: str | os.PathLike[str]
) -> tuple[Mapping[str, str], dict[str, np.ndarray]]:
    """Returns the header's texts and the arrays; `function` is the name to blame in an error."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{function}: no file {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{function}: {path} must be a whole safetensors file, but cannot be read ({error})."
        ) from error


def _leaves(function: str, tree: Params) -> dict[str, jax.Array]:
    """Returns the leaves of a tree by their paths."""
    leaves = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"{function}: params must have one array a path, got two {name}.")
        leaves[name] = leaf
    return leaves


def _shapes(net: Cell | Layer, input_size: int) -> Params:
    return jax.eval_shape(lambda key: net.init(key, input_size), jax.random.key(0))


def input_size(net: Cell | Layer, params: Params) -> int:
    """Returns the features for which the net has parameters of these shapes.

    Raises:
        ValueError: if there are none.
    """
    shapes = jax.tree.map(np.shape, params)
    rows, *columns = next((leaf.shape for leaf in jax.tree.leaves(params)), (1,))
    # The first weights act on x and the state, or on x alone (dense).
    for size in (rows - sum(columns), rows):
        # A net may refuse a size: residual does where inputs and outputs differ.
        with contextlib.suppress(ValueError):
            if jax.tree.map(np.shape, _shapes(net, size)) == shapes:
                return size
    raise ValueError(f"save: params must be those of the net, got {shapes}.")


def _fill(
    function: str, path: str | os.PathLike[str], like: Params, arrays: dict[str, np.ndarray]
) -> Params:
    needed = {name: np.shape(leaf) for name, leaf in _leaves(function, like).items()}
    found = {name: array.shape for name, array in arrays.items()}
    for name in sorted(needed.keys() | found.keys()):
        if needed.get(name) != found.get(name):
            raise ValueError(
                f"{function}: {path} must have {name} {needed.get(name, 'nowhere')}, "
                f"got {found.get(name, 'nothing')}."
            )
    leaves = [exact(function, f"{path}: {name}", arrays[name]) for name in needed]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
