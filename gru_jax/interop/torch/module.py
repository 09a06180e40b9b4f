"""PyTorch's `nn.GRU` and `nn.GRUCell`.

Its rows stand in the order r, z, n, its z weighs the old state, and each gate has two biases. Those
of r and z are only ever added, so ours is their sum; on the way back the second ones are 0.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import floats
from gru_jax.interop.gates import Joined, join, part
from gru_jax.interop.limits import TORCH, check
from gru_jax.interop.names import choose
from gru_jax.interop.stack import (
    Level,
    Run,
    assemble,
    assemble_cell,
    take_apart,
)
from gru_jax.interop.torch.state import as_numpy, flatten
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import torch

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def from_torch(
    source: "torch.nn.GRU | torch.nn.GRUCell | Mapping[str, Any]", *, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns a PyTorch GRU as a net of ours.

    `batch_first` is not of the weights: `ys, state = net.apply(params, xs)` is batch-major.
    PyTorch's `h_n` is `jnp.stack(jax.tree.leaves(state))` of ours.

    Args:
        source: a module, or a state dict of one with tensors or NumPy arrays, alone or in a
            checkpoint's dict. It does not say what the dropout between layers is: 0 then.
        name: where the GRU is in a larger model, e.g. `"encoder.gru"`, or the end of that; None is
            the only one there is.

    Returns:
        The net and its parameters: of `nn.GRUCell` a cell, of `nn.GRU` a layer. Without bias, ours
        are zeros.

    Raises:
        ValueError: if there is no GRU by this name, or its arrays do not fit each other.
    """
    if isinstance(source, Mapping):
        (place, found), rate = _find(flatten(source), name), 0.0
    elif hasattr(source, "state_dict") and not isinstance(source, type):
        place, found = _find(flatten(source.state_dict()), name)
        rate = _dropout_of(source.get_submodule(place))
    else:
        came = source.__name__ if isinstance(source, type) else f"a {type(source).__name__}"
        raise ValueError(f"from_torch: source must be a module or a state dict, got {came}.")
    if "weight_ih" in found:
        return assemble_cell(Run(_take(found, place, "")))
    suffixes = {key.removeprefix("weight_ih") for key in found if key.startswith("weight_ih")}
    count = sum(not suffix.endswith("_reverse") for suffix in suffixes)
    ways = ("", "_reverse") if "_l0_reverse" in suffixes else ("",)
    if odd := suffixes ^ {f"_l{number}{way}" for number in range(count) for way in ways}:
        raise ValueError(
            f"from_torch: {place or 'source'} must have all layers from 0, each in the directions "
            f"of the first, got one too many or too few: weight_ih{min(odd)}."
        )
    levels = []
    for number in range(count):
        runs = (Run(_take(found, place, f"_l{number}{way}"), reverse=bool(way)) for way in ways)
        levels.append(Level(tuple(runs), dropout=rate if number < count - 1 else 0.0))
    return assemble("from_torch", levels)


def _dropout_of(module: "torch.nn.Module") -> float:
    """Returns the rate between a GRU's layers."""
    import torch

    own = (torch.nn.GRU, torch.nn.GRUCell)
    if isinstance(module, own) and type(module) not in own:
        raise ValueError(
            f"from_torch: source must be PyTorch's own GRU, got a {type(module).__name__}, which "
            "may compute something else: give its state_dict()."
        )
    return module.dropout if isinstance(module, torch.nn.GRU) else 0.0


def to_torch_state(
    net: Cell | Layer, params: Params, *, bias: bool = True
) -> dict[str, Float[Array, "..."]]:
    """Returns a net of ours as the state dict of PyTorch's, in JAX's arrays; needs no PyTorch.

    Args:
        net: a cell, for an `nn.GRUCell`, or a layer, for an `nn.GRU`.
        params: its parameters.
        bias: False leaves out the biases; ours must be zero then.

    Raises:
        ValueError: where PyTorch's GRU cannot be this net, and why.
    """
    return _to_state("to_torch_state", take_apart("to_torch_state", net, params), net, bias)


def to_torch(
    net: Cell | Layer, params: Params, *, bias: bool = True
) -> "torch.nn.GRU | torch.nn.GRUCell":
    """Returns a net of ours as a PyTorch module on the CPU, batch-major.

    Args:
        net: a cell, which becomes an `nn.GRUCell`, or a layer, which becomes an `nn.GRU`.
        params: its parameters.
        bias: False builds a module without biases; ours must be zero then.

    Raises:
        ValueError: where PyTorch's GRU cannot be this net, and why.
    """
    import torch

    levels = take_apart("to_torch", net, params)
    state = _to_state("to_torch", levels, net, bias)
    first = levels[0].runs[0]
    dtype = getattr(torch, str(first.params.W_c.dtype))
    if isinstance(net, Cell):
        module = torch.nn.GRUCell(first.input_size, first.hidden_size, bias, dtype=dtype)
    else:
        module = torch.nn.GRU(
            first.input_size,
            first.hidden_size,
            len(levels),
            bias,
            batch_first=True,
            dropout=levels[0].dropout,
            bidirectional=len(levels[0].runs) == 2,
            dtype=dtype,
        )
    # Through float64, for NumPy has no bfloat16 that PyTorch knows.
    tensors = {k: torch.from_numpy(np.array(a, np.float64)).to(dtype) for k, a in state.items()}
    module.load_state_dict(tensors)
    return module


def _to_state(
    function: str, levels: list[Level], net: Cell | Layer, bias: bool
) -> dict[str, Array]:
    check(function, levels, TORCH)
    shapes = {(len(level.runs), run.hidden_size) for level in levels for run in level.runs}
    rates = {level.dropout for level in levels[:-1]}
    for what, values in (("count of directions and hidden size", shapes), ("dropout", rates)):
        if len(values) > 1:
            raise ValueError(
                f"{function}: net must have one {what} in all layers, got {sorted(values)}: "
                "PyTorch's GRU has one for all; convert them one by one."
            )
    if levels[-1].dropout:
        raise ValueError(
            f"{function}: net must end without dropout, got a rate of {levels[-1].dropout}: "
            "PyTorch's GRU has it between layers alone; put an nn.Dropout behind the module."
        )
    state = {}
    for number, level in enumerate(levels):
        for direction, run in enumerate(level.runs):
            W_x, W_h, b_x, b_h = join(run.params, "rzc", old=True)
            if not bias and (b_x.any() or b_h.any()):
                raise ValueError(
                    f"{function}: bias must be True where biases are not zero, got False: without "
                    "them the module would compute something else."
                )
            suffix = "" if isinstance(net, Cell) else f"_l{number}{'_reverse' * direction}"
            arrays = (W_x.T, W_h.T, b_x, b_h)[: 4 if bias else 2]
            state |= {key + suffix: a for key, a in zip(NAMES, arrays, strict=False)}
    return state


def _find(state: Mapping[str, Any], name: str | None) -> tuple[str, dict[str, Any]]:
    """Returns the name of the GRU and its arrays."""
    places = [re.fullmatch(r"(?:(.*)\.)?weight_ih(?:_l0)?", key) for key in state]
    there = [place[1] or "" for place in places if place]
    place = choose("from_torch", there, name, state, separator=".")
    prefix = f"{place}." if place else ""
    found = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    if odd := [key.split(".")[1] for key in found if key.startswith("parametrizations.")]:
        raise ValueError(
            f"from_torch: {place or 'source'} must have plain weights, got parametrizations of "
            f"{', '.join(dict.fromkeys(odd))}: torch.nn.utils.parametrize.remove_parametrizations "
            "makes them plain."
        )
    found = {key: array for key, array in found.items() if "." not in key}
    known = re.compile(rf"(?:{'|'.join(NAMES)})(?:_l\d+(?:_reverse)?)?")
    if odd := [key for key in found if not known.fullmatch(key)]:
        raise ValueError(
            f"from_torch: {place or 'source'} must be a GRU of PyTorch's, got one with "
            f"{', '.join(odd)[:200]}, too."
        )
    return place, found


def _take(found: dict[str, Any], name: str, suffix: str) -> GRUParams:
    has_bias = any(f"{key}{suffix}" in found for key in NAMES[2:])
    keys = [key + suffix for key in NAMES[: 4 if has_bias else 2]]
    if missing := [key for key in keys if key not in found]:
        raise ValueError(
            f"from_torch: {name or 'source'} must have {', '.join(missing)}, got none."
        )
    inputs, hidden = (tuple(np.shape(found[key]))[1:] for key in keys[:2])
    gates = tuple(3 * size for size in hidden)
    for count, kind in ((1, "an RNN"), (4, "an LSTM")):
        if all(np.shape(found[key])[:1] == (count * sum(hidden),) for key in keys):
            raise ValueError(
                f"from_torch: {name or 'source'} must be a GRU, with 3 x {sum(hidden)} rows for "
                f"{sum(hidden)} units, got {kind}, with {count} x {sum(hidden)}."
            )
    shapes = (gates + inputs, gates + hidden, gates, gates)
    W_x, W_h, *biases = (
        floats("from_torch", key, as_numpy(key, found[key]), shape)
        for key, shape in zip(keys, shapes, strict=False)
    )
    b_x, b_h = biases or [jnp.zeros(gates, W_h.dtype)] * 2
    return part("from_torch", Joined(W_x.T, W_h.T, b_x, b_h), "rzc", old=True, reset="after")
