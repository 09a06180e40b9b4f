"""Flax linen's GRU and LSTM cells, in `RNN`, `Bidirectional` and `Sequential`.

Its GRU has all four biases, its LSTM one for each gate.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.interop.flax.cell_arrays import LINEN as NAMES
from gru_jax.interop.flax.cell_arrays import ORDERS
from gru_jax.interop.flax.modules import build_level, read_tree
from gru_jax.interop.flax.places import bare
from gru_jax.interop.gates import join
from gru_jax.interop.kinds import GRU
from gru_jax.interop.limits import LINEN, levels_within
from gru_jax.interop.stack import Run
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    from flax import linen as nn


def from_linen(
    module: "nn.Module | None", variables: Mapping[str, Any], *, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns a Flax linen GRU or LSTM as a net of gru_jax, bit for bit.

    `time_major`, `return_carry` and the dtype of computation do not matter to the weights.

    Args:
        module: `nn.GRUCell`, `nn.LSTMCell` or `nn.OptimizedLSTMCell`, or `nn.RNN`,
            `nn.Bidirectional` or an `nn.Sequential` of them. An LSTM must have the activations
            sigmoid and tanh. None goes by the names in the variables, as of a checkpoint (`cell`,
            `forward_rnn`, `layers_0`), and takes activations and directions to be those of a new
            module.
        variables: of the module, with or without the collection's name `params`; or a train
            state's dict with such `params`.
        name: where the cell is among more, e.g. `"encoder/GRUCell_0"`; None is the only one there
            is, or all that is in the variables of a module.

    Returns:
        The net and its parameters: of a cell a cell, which is also what is left of an `nn.RNN`
        inside a compact module, and of the others a layer.

    Raises:
        ValueError: if there is no such cell, or it has no equal in gru_jax.
    """
    return read_tree("from_linen", module, bare(variables), name)


def to_linen(net: Cell | Layer, params: Params) -> tuple["nn.Module", dict[str, Any]]:
    """Returns a net as a Flax linen module and its variables, bit for bit.

    Args:
        net: a cell, which becomes an `nn.GRUCell` or an `nn.OptimizedLSTMCell`, or a layer, which
            becomes an `nn.RNN`, an `nn.Bidirectional`, or an `nn.Sequential` of them. The variables
            fit an `nn.LSTMCell`, too.
        params: its parameters.

    Raises:
        ValueError: if Flax's cells cannot compute this net, and why.
    """
    from flax import linen as nn

    levels = levels_within(LINEN, "to_linen", net, params)
    if isinstance(net, Cell):
        run = levels[0].runs[0]
        return _cell(run), {"params": _arrays(run)}
    modules, trees = [], {}
    for number, level in enumerate(levels):
        modules.append(build_level(nn, level, [*map(_cell, level.runs)]))
        tree, *back = ({"cell": _arrays(run)} for run in level.runs)
        trees[f"layers_{number}"] = {"forward_rnn": tree, "backward_rnn": back[0]} if back else tree
    if len(levels) == 1:
        return modules[0], {"params": trees["layers_0"]}
    return nn.Sequential(modules), {"params": trees}


def _cell(run: Run) -> "nn.RNNCellBase":
    from flax import linen as nn

    return (nn.GRUCell if run.kind is GRU else nn.OptimizedLSTMCell)(
        run.hidden_size,
        gate_fn=ACTIVATIONS[run.gate_activation],
        activation_fn=ACTIVATIONS[run.activation],
        param_dtype=run.dtype,
    )


def _arrays(run: Run) -> dict[str, dict[str, Array]]:
    order, names = ORDERS[run.kind], NAMES[run.kind]
    joined = join(run.params, order, old=True)
    arrays = {}
    for x, h, *gate in zip(
        names.x, names.h, *(jnp.split(a, len(order), axis=-1) for a in joined), strict=True
    ):
        W_x, W_h, *biases = gate
        arrays |= {x: {"kernel": W_x}, h: {"kernel": W_h}}
        biased = [name for name in (x, h) if name in names.biased]
        for name, b in zip(biased, biases, strict=False):
            arrays[name]["bias"] = b
    return arrays
