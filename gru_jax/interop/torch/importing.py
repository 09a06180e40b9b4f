"""From PyTorch: file -> state dict -> the arrays of one GRU or LSTM -> levels -> net, params."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gru_jax.files import check_size
from gru_jax.interop.arrays import as_numpy
from gru_jax.interop.contents import Contents, damaged, list_names
from gru_jax.interop.gates import take
from gru_jax.interop.kinds import ANY_KIND, GRU, LSTM, CellParams
from gru_jax.interop.names import choose
from gru_jax.interop.stack import Level, Run, assemble, assemble_cell
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import torch

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The arrays of a cell; of a layer with a suffix, e.g. `_l0` or `_l0_reverse`."""

ORDERS = {GRU: "rzc", LSTM: "ifgo"}

MOST, DEEPEST = 100_000, 64
"""Arrays of a model, and dots in their names."""


def from_torch(
    source: "torch.nn.RNNBase | torch.nn.RNNCellBase | Mapping[str, Any]",
    *,
    name: str | None = None,
) -> tuple[Cell | Layer, Params]:
    """Returns a PyTorch GRU or LSTM as a net of gru_jax.

    The weights do not know `batch_first`: `ys, state = net.apply(params, xs)` is batch-major. With
    `leaves = jax.tree.leaves(state)`, a GRU's `h_n` is `jnp.stack(leaves)`; an LSTM's `h_n` and
    `c_n` are `jnp.stack(leaves[::2])` and `jnp.stack(leaves[1::2])`.

    Args:
        source: an `nn.GRU`, `nn.GRUCell`, `nn.LSTM` or `nn.LSTMCell`, a module that has one, or a
            state dict with tensors or NumPy arrays, alone or in a checkpoint's dict. A state dict
            does not hold the rate of the dropout between layers: 0 then.
        name: the place in a larger model, e.g. `"encoder.gru"`, or the end of that; None is the
            only one there is.

    Returns:
        The net and its parameters: of `nn.GRUCell` and `nn.LSTMCell` a cell, of `nn.GRU` and
        `nn.LSTM` a layer. Without bias, the biases are zeros.

    Raises:
        ValueError: if there is no such module by this name, its arrays do not fit each other, or
            it has a `proj_size`.
    """
    if isinstance(source, Mapping):
        return read_state(source, name)[:2]
    if not hasattr(source, "state_dict") or isinstance(source, type):
        got = source.__name__ if isinstance(source, type) else f"a {type(source).__name__}"
        raise ValueError(f"from_torch: source must be a module or a state dict, got {got}.")
    place, arrays = _find(flatten(source.state_dict()), name)
    return _assemble(place or "source", arrays, _dropout_of(source.get_submodule(place)))


def read_state(source: Mapping[str, Any], name: str | None) -> Contents:
    """Returns the net in a state dict, as `from_torch` does, and the names of the other arrays."""
    state = flatten(source)
    place, arrays = _find(state, name)
    prefix = f"{place}." if place else ""
    taken = {prefix + key for key in arrays}
    net, params = _assemble(place or "source", arrays, 0.0)
    return Contents(net, params, tuple(key for key in state if key not in taken))


def read_torch(path: Path) -> dict[str, Any]:
    """Returns the tensors of a `.pt` or `.pth` file by name, with PyTorch's weights-only loader."""
    import torch

    check_size(path)
    try:
        if zipfile.is_zipfile(path):  # PyTorch itself does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if member := archive.testzip():
                    raise ValueError(f"its {member} has another checksum")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is an error anyway
            return flatten(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and PyTorch raise a dozen things at damage
        alien = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds a {alien[1]}, which only unpickling could build" if alien else error
        needed = "a whole state dict, torch.save(module.state_dict(), file), for weights_only=True"
        raise damaged("read", path, needed, reason) from error


def flatten(state: Any) -> dict[str, Any]:
    """Returns the arrays in dicts of dicts, as in a checkpoint, by their names joined by dots.

    Raises:
        ValueError: if the dicts have no end: they may hold each other.
    """
    arrays, left, count = {}, [("", state)], 0
    while left:
        name, value = left.pop()
        count += 1
        if count > MOST or name.count(".") > DEEPEST:
            raise ValueError(
                f"from_torch: source must be at most {MOST} arrays in dicts {DEEPEST} deep, got "
                "more."
            )
        if isinstance(value, Mapping):
            inner = [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
            left += reversed(inner)
        elif hasattr(value, "shape"):
            arrays[name] = value
    return arrays


def _find(state: Mapping[str, Any], name: str | None) -> tuple[str, dict[str, Any]]:
    """Returns the place of the GRU or LSTM and its arrays."""
    places = [re.fullmatch(r"(?:(.*)\.)?weight_ih(?:_l0)?", key) for key in state]
    known = [place[1] or "" for place in places if place]
    place = choose("from_torch", known, name, state, separator=".")
    prefix = f"{place}." if place else ""
    arrays = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    if hidden := [key.split(".")[1] for key in arrays if key.startswith("parametrizations.")]:
        raise ValueError(
            f"from_torch: {place or 'source'} must have plain weights, got parametrizations of "
            f"{list_names(dict.fromkeys(hidden))}: torch.nn.utils.parametrize."
            "remove_parametrizations makes them plain."
        )
    arrays = {key: array for key, array in arrays.items() if "." not in key}
    if projections := [key for key in arrays if key.startswith("weight_hr_l")]:
        raise ValueError(
            f"from_torch: proj_size of {place or 'source'} must be 0, got an LSTM with "
            f"{list_names(projections)}: the LSTM of gru_jax does not project its state."
        )
    pattern = re.compile(rf"(?:{'|'.join(NAMES)})(?:_l\d+(?:_reverse)?)?")
    if unknown := [key for key in arrays if not pattern.fullmatch(key)]:
        raise ValueError(
            f"from_torch: {place or 'source'} must be {ANY_KIND} of PyTorch's, got one with "
            f"{list_names(unknown)}, too."
        )
    return place, arrays


def _assemble(label: str, arrays: dict[str, Any], rate: float) -> tuple[Cell | Layer, Params]:
    if "weight_ih" in arrays:
        return assemble_cell(Run(_take(label, arrays, "")))
    suffixes = {key.removeprefix("weight_ih") for key in arrays if key.startswith("weight_ih")}
    count = sum(not suffix.endswith("_reverse") for suffix in suffixes)
    ends = ("", "_reverse") if "_l0_reverse" in suffixes else ("",)
    if wrong := suffixes ^ {f"_l{number}{end}" for number in range(count) for end in ends}:
        raise ValueError(
            f"from_torch: {label} must have all layers from 0, each in the directions of the "
            f"first, got one too many or too few: weight_ih{min(wrong)}."
        )
    levels = []
    for number in range(count):
        runs = (Run(_take(label, arrays, f"_l{number}{end}"), reverse=bool(end)) for end in ends)
        levels.append(Level(tuple(runs), dropout=rate if number < count - 1 else 0.0))
    return assemble("from_torch", levels)


def _take(label: str, arrays: dict[str, Any], suffix: str) -> CellParams:
    has_bias = any(f"{key}{suffix}" in arrays for key in NAMES[2:])
    keys = [key + suffix for key in NAMES[: 4 if has_bias else 2]]
    if missing := [key for key in keys if key not in arrays]:
        raise ValueError(f"from_torch: {label} must have {', '.join(missing)}, got none.")
    hidden = sum(np.shape(arrays[keys[1]])[1:])
    if all(np.shape(arrays[key])[:1] == (hidden,) for key in keys):
        raise ValueError(
            f"from_torch: {label} must be {ANY_KIND}, with 3 or 4 x {hidden} rows for {hidden} "
            f"units, got an RNN, with 1 x {hidden}."
        )
    plain = {key: as_numpy("from_torch", key, arrays[key]) for key in keys}
    return take("from_torch", plain, ORDERS, old=True, reset="after", rows=True)


def _dropout_of(module: "torch.nn.Module") -> float:
    """Returns the rate between a module's layers."""
    import torch

    layers = (torch.nn.GRU, torch.nn.LSTM)
    own = (*layers, torch.nn.GRUCell, torch.nn.LSTMCell)
    if isinstance(module, own) and type(module) not in own:
        raise ValueError(
            f"from_torch: source must be PyTorch's own GRU or LSTM, got a {type(module).__name__}, "
            "which may compute something else: give its state_dict()."
        )
    return module.dropout if isinstance(module, layers) else 0.0
