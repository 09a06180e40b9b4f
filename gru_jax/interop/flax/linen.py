"""Flax linen's `GRUCell`, in `RNN`, `Bidirectional` and `Sequential`.

Its z weighs the old state; it has all four biases.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.flax.modules import build_level, read_tree
from gru_jax.interop.flax.places import bare
from gru_jax.interop.gates import join
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
    """Returns a Flax linen GRU as a net of gru_jax, bit for bit.

    `time_major`, `return_carry` and the dtype of computation do not matter to the weights.

    Args:
        module: `nn.GRUCell`, or `nn.RNN`, `nn.Bidirectional` or an `nn.Sequential` of them. None
            goes by the names in the variables, as of a checkpoint (`cell`, `forward_rnn`,
            `layers_0`), and takes activations and directions to be those of a new module.
        variables: of the module, with or without the collection's name `params`; or a train
            state's dict with such `params`.
        name: where the GRU is among more, e.g. `"encoder/GRUCell_0"`; None is the only one there
            is, or all that is in the variables of a module.

    Returns:
        The net and its parameters: of `nn.GRUCell` a cell, which is also what is left of an
        `nn.RNN` inside a compact module, and of the others a layer.

    Raises:
        ValueError: if there is no such GRU, or it has no equal in gru_jax.
    """
    return read_tree("from_linen", module, bare(variables), name)


def to_linen(net: Cell | Layer, params: Params) -> tuple["nn.Module", dict[str, Any]]:
    """Returns a net as a Flax linen module and its variables, bit for bit.

    Args:
        net: a cell, which becomes an `nn.GRUCell`, or a layer, which becomes an `nn.RNN`, an
            `nn.Bidirectional`, or an `nn.Sequential` of them.
        params: its parameters.

    Raises:
        ValueError: if Flax's GRU cannot compute this net, and why.
    """
    from flax import linen as nn

    levels = levels_within(LINEN, "to_linen", net, params)
    if isinstance(net, Cell):
        run = levels[0].runs[0]
        return _cell(run), {"params": _arrays(run.params)}
    modules, trees = [], {}
    for number, level in enumerate(levels):
        modules.append(build_level(nn, level, [*map(_cell, level.runs)]))
        tree, *back = ({"cell": _arrays(run.params)} for run in level.runs)
        trees[f"layers_{number}"] = {"forward_rnn": tree, "backward_rnn": back[0]} if back else tree
    if len(levels) == 1:
        return modules[0], {"params": trees["layers_0"]}
    return nn.Sequential(modules), {"params": trees}


def _cell(run: Run) -> "nn.GRUCell":
    from flax import linen as nn

    return nn.GRUCell(
        run.hidden_size,
        gate_fn=ACTIVATIONS[run.gate_activation],
        activation_fn=ACTIVATIONS[run.activation],
        param_dtype=run.params.W_c.dtype,
    )


def _arrays(params: GRUParams) -> dict[str, dict[str, Array]]:
    W_x, W_h, b_x, b_h = (jnp.split(a, 3, axis=-1) for a in join(params, "rzc", old=True))
    arrays = {}
    for number, gate in enumerate("rzn"):
        arrays[f"i{gate}"] = {"kernel": W_x[number], "bias": b_x[number]}
        arrays[f"h{gate}"] = {"kernel": W_h[number]}
    arrays["hn"]["bias"] = b_h[2]
    return arrays
