"""To PyTorch: net, params -> levels -> state dict -> module."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from gru_jax import files
from gru_jax.interop.gates import join
from gru_jax.interop.limits import TORCH, levels_within
from gru_jax.interop.stack import Level
from gru_jax.interop.torch.importing import NAMES, ORDERS
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import torch


def to_torch_state(
    net: Cell | Layer, params: Params, *, bias: bool = True
) -> dict[str, Float[Array, "..."]]:
    """Returns a net as a PyTorch state dict of JAX arrays; needs no PyTorch.

    Args:
        net: a cell, for an `nn.GRUCell` or `nn.LSTMCell`, or a layer, for an `nn.GRU` or `nn.LSTM`.
        params: its parameters.
        bias: False leaves out the biases, which must be zero then.

    Raises:
        ValueError: if PyTorch's modules cannot compute this net, and why.
    """
    return _to_state("to_torch_state", net, params, bias)[1]


def to_torch(
    net: Cell | Layer, params: Params, *, bias: bool = True
) -> "torch.nn.RNNBase | torch.nn.RNNCellBase":
    """Returns a net as a PyTorch module on the CPU, batch-major.

    Args:
        net: a cell, which becomes an `nn.GRUCell` or `nn.LSTMCell`, or a layer, which becomes an
            `nn.GRU` or `nn.LSTM`.
        params: its parameters.
        bias: False builds a module without biases, which must be zero then.

    Raises:
        ValueError: if PyTorch's modules cannot compute this net, and why.
    """
    import torch

    levels, state = _to_state("to_torch", net, params, bias)
    first = levels[0].runs[0]
    dtype = getattr(torch, str(first.dtype))
    if isinstance(net, Cell):
        build = getattr(torch.nn, f"{first.kind.name}Cell")
        module = build(first.input_size, first.hidden_size, bias, dtype=dtype)
    else:
        module = getattr(torch.nn, first.kind.name)(
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


def write_torch(path: Path, net: Cell | Layer, params: Params) -> None:
    """Writes the state dict of a net to a `.pt` or `.pth` file, atomically."""
    import torch

    files.write(path, partial(torch.save, to_torch(net, params).state_dict()))


def _to_state(
    function: str, net: Cell | Layer, params: Params, bias: bool
) -> tuple[list[Level], dict[str, Array]]:
    levels = levels_within(TORCH, function, net, params)
    kinds = {run.kind.name for level in levels for run in level.runs}
    shapes = {(len(level.runs), run.hidden_size) for level in levels for run in level.runs}
    same = {
        "kind of cell": kinds,
        "count of directions and hidden size": shapes,
        "dropout": {level.dropout for level in levels[:-1]},
    }
    name = TORCH.name_of(levels[0].runs[0].kind)
    for option, values in same.items():
        if len(values) > 1:
            raise ValueError(
                f"{function}: net must have one {option} in all layers, got {sorted(values)}: "
                "a PyTorch module has the same for all; convert the layers one by one."
            )
    if levels[-1].dropout:
        raise ValueError(
            f"{function}: net must end without dropout, got a rate of {levels[-1].dropout}: "
            f"{name} has dropout only between layers; add an nn.Dropout after the module."
        )
    state = {}
    for number, level in enumerate(levels):
        for direction, run in enumerate(level.runs):
            W_x, W_h, b_x, b_h = join(run.params, ORDERS[run.kind], old=True)
            if not bias and (b_x.any() or b_h.any()):
                raise ValueError(
                    f"{function}: bias must be True where biases are not zero, got False: without "
                    "them the module would compute something else."
                )
            suffix = "" if isinstance(net, Cell) else f"_l{number}{'_reverse' * direction}"
            arrays = (W_x.T, W_h.T, b_x, b_h)[: 4 if bias else 2]
            state |= {key + suffix: a for key, a in zip(NAMES, arrays, strict=False)}
    return levels, state
