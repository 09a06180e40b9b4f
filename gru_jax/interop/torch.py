"""PyTorch's `nn.GRU` and `nn.GRUCell`.

Its rows stand in the order r, z, n, its z weighs the old state, and each gate has two biases. Those
of r and z are only ever added, so ours is their sum; on the way back the second ones are 0.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import floats
from gru_jax.interop.gates import Joined, join, part
from gru_jax.interop.levels import (
    Level,
    Run,
    assemble,
    assemble_cell,
    take_apart,
)
from gru_jax.interop.limits import TORCH, check
from gru_jax.types import ArrayLike, Cell, Layer, Params

if TYPE_CHECKING:
    import torch

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def from_torch(
    source: "torch.nn.GRU | torch.nn.GRUCell | Mapping[str, Any]", *, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns a PyTorch GRU as a net of ours.

    `batch_first` is not of the weights: ours are batch-major, and take other data by `time_axis`
    in `unroll`. PyTorch's `h_n` is `jnp.stack(jax.tree.leaves(state))` of ours.

    Args:
        source: a module, or a state dict of one with tensors or NumPy arrays. A state dict does not
            say what the dropout between layers is: it is 0 then.
        name: where the GRU is in a larger model's state dict, e.g. `"encoder.gru"`; None is the
            only one there is.

    Returns:
        The net and its parameters: of `nn.GRUCell` a cell, of `nn.GRU` a layer. Without bias, ours
        are zeros.

    Raises:
        ValueError: if there is no GRU by this name, or its arrays do not fit each other.
    """
    whole = isinstance(source, Mapping)
    rate = 0.0 if whole else getattr(source, "dropout", 0.0)
    name, found = _find(source if whole else source.state_dict(), name)
    if "weight_ih" in found:
        return assemble_cell(Run(_take(found, name, "")))
    suffixes = {key.removeprefix("weight_ih") for key in found if key.startswith("weight_ih")}
    count = sum(not suffix.endswith("_reverse") for suffix in suffixes)
    levels = []
    for number in range(count):
        runs = [Run(_take(found, name, f"_l{number}"))]
        if f"_l{number}_reverse" in suffixes:
            runs.append(Run(_take(found, name, f"_l{number}_reverse"), reverse=True))
        levels.append(Level(tuple(runs), dropout=rate if number < count - 1 else 0.0))
    return assemble("from_torch", levels)


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
    check("to_torch", levels, TORCH)
    first = levels[0].runs[0]
    shape = {(len(level.runs), run.hidden_size) for level in levels for run in level.runs}
    rates = {level.dropout for level in levels[:-1]} or {0.0}
    for what, values in (("directions and hidden size", shape), ("rate of dropout", rates)):
        if len(values) > 1:
            raise ValueError(
                f"to_torch: net must have one {what} in all layers, got {sorted(values)}: "
                "PyTorch's GRU has one for all; convert them one by one."
            )
    if levels[-1].dropout:
        raise ValueError(
            f"to_torch: net must end without dropout, got a rate of {levels[-1].dropout}: "
            "PyTorch's GRU has it between layers alone; put an nn.Dropout behind the module."
        )
    dtype = getattr(torch, str(first.params.W_c.dtype))
    if isinstance(net, Cell):
        module = torch.nn.GRUCell(first.input_size, first.hidden_size, bias, dtype=dtype)
        suffixes = [""]
    else:
        module = torch.nn.GRU(
            first.input_size,
            first.hidden_size,
            len(levels),
            bias,
            batch_first=True,
            dropout=rates.pop(),
            bidirectional=len(levels[0].runs) == 2,
            dtype=dtype,
        )
        suffixes = [
            f"_l{number}{'_reverse' * direction}"
            for number, level in enumerate(levels)
            for direction in range(len(level.runs))
        ]
    runs = [run for level in levels for run in level.runs]
    state = {}
    for suffix, run in zip(suffixes, runs, strict=True):
        W_x, W_h, b_x, b_h = join(run.params, "rzc", old=True)
        if not bias and (np.any(np.asarray(b_x)) or np.any(np.asarray(b_h))):
            raise ValueError(
                "to_torch: bias must be True where biases are not zero, got False: without them "
                "the module would compute something else."
            )
        arrays = [W_x.T, W_h.T, b_x, b_h][: 4 if bias else 2]
        for key, array in zip(NAMES, arrays, strict=False):
            state[key + suffix] = torch.from_numpy(np.array(array, np.float64)).to(dtype)
    module.load_state_dict(state)
    return module


def _find(state: Mapping[str, Any], name: str | None) -> tuple[str, dict[str, Any]]:
    """Returns the name of the GRU and its arrays."""
    places = [re.fullmatch(r"(?:(.*)\.)?weight_ih(?:_l0)?", key) for key in state]
    there = [place[1] or "" for place in places if place]
    if (name is None and len(there) != 1) or (name is not None and name not in there):
        many = ", ".join(map(repr, there)) or f"none among {', '.join(map(str, state))[:200]}"
        raise ValueError(
            f"from_torch: name must be that of a GRU in the state dict, of which there is {many}; "
            f"got {name!r}."
        )
    name = there[0] if name is None else name
    prefix = f"{name}." if name else ""
    found = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    found = {key: array for key, array in found.items() if "." not in key}
    known = re.compile(rf"(?:{'|'.join(NAMES)})(?:_l\d+(?:_reverse)?)?")
    if odd := [key for key in found if not known.fullmatch(key)]:
        raise ValueError(
            f"from_torch: {name or 'source'} must be a GRU of PyTorch's, got one with "
            f"{', '.join(odd)[:200]}, too."
        )
    return name, found


def _take(found: dict[str, Any], name: str, suffix: str) -> GRUParams:
    keys = [key + suffix for key in NAMES]
    shape_x, shape_h = (np.shape(found.get(key, ())) for key in keys[:2])
    if len(shape_x) != 2 or len(shape_h) != 2 or shape_h[0] != 3 * shape_h[1]:
        raise ValueError(
            f"from_torch: {name or 'source'} must have {keys[0]} (3 * hidden, input) and {keys[1]} "
            f"(3 * hidden, hidden) of a GRU, got {shape_x} and {shape_h}."
        )
    hidden = shape_h[1]
    shapes = dict(zip(keys, [(3 * hidden, shape_x[1]), shape_h, *[(3 * hidden,)] * 2], strict=True))
    has_bias = any(key in found for key in keys[2:])
    arrays: list[Array] = []
    for key in keys[: 4 if has_bias else 2]:
        if key not in found:
            raise ValueError(f"from_torch: {name or 'source'} must have {key}, got none.")
        arrays.append(floats("from_torch", key, as_numpy(found[key]), shapes[key]))
    W_x, W_h = arrays[:2]
    b_x, b_h = arrays[2:] if has_bias else [jnp.zeros(3 * hidden, W_h.dtype)] * 2
    return part(Joined(W_x.T, W_h.T, b_x, b_h), "rzc", old=True, reset="after")


def as_numpy(value: Any) -> ArrayLike:
    """Returns a tensor as NumPy's, which has no bfloat16 of its own; leaves others as they are."""
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    if str(value.dtype) != "torch.bfloat16":
        return value.numpy()
    import ml_dtypes

    return value.float().numpy().astype(ml_dtypes.bfloat16)
