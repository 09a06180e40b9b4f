"""Flax nnx's GRU and LSTM cells, in `RNN`, `Bidirectional` and `Sequential`.

The GRU has no b_h. The LSTM has one bias for each gate.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gru_jax.interop.flax.cell_arrays import FUSED, ORDERS
from gru_jax.interop.flax.modules import build_level, kind_of, read_tree
from gru_jax.interop.flax.places import bare, find
from gru_jax.interop.gates import join
from gru_jax.interop.kinds import GRU
from gru_jax.interop.limits import NNX, levels_within
from gru_jax.interop.stack import Run
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    from flax import nnx


def from_nnx(
    source: "nnx.Module | nnx.State | Mapping[Any, Any]", *, name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns a Flax nnx GRU or LSTM as a net of gru_jax, bit for bit; a GRU's b_h is zeros.

    Args:
        source: `nnx.GRUCell`, `nnx.LSTMCell` or `nnx.OptimizedLSTMCell`, or `nnx.RNN`,
            `nnx.Bidirectional` or an `nnx.Sequential` of them with dropout between, or a module
            that has one. An LSTM must have the activations sigmoid and tanh. Or the state of one,
            as a checkpoint holds it: activations and directions are taken to be those of a new
            module then.
        name: where the cell is among more, e.g. `"encoder/rnn"`; None is the only one there is.

    Returns:
        The net and its parameters: of a cell a cell, of the others a layer.

    Raises:
        ValueError: if there is no such cell, or it has no equal in gru_jax.
    """
    from flax import nnx

    if not isinstance(source, nnx.Module):
        return read_tree("from_nnx", None, bare(source), name)
    module: Any = source
    tree = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    if name is not None or kind_of(module) is None:
        for key in find("from_nnx", tree, name):
            held = isinstance(module, Mapping | Sequence)
            module, tree = module[key] if held else getattr(module, key), tree[key]
    return read_tree("from_nnx", module, tree, None)


def to_nnx(net: Cell | Layer, params: Params) -> "nnx.Module":
    """Returns a net as a Flax nnx module, bit for bit.

    Args:
        net: a cell, which becomes an `nnx.GRUCell` or an `nnx.OptimizedLSTMCell`, or a layer, which
            becomes an `nnx.RNN`, an `nnx.Bidirectional`, or an `nnx.Sequential` of them with
            dropout between.
        params: its parameters; a GRU's b_h must be zero, for nnx has none.

    Raises:
        ValueError: if Flax's cells cannot compute this net, and why.
    """
    from flax import nnx

    levels = levels_within(NNX, "to_nnx", net, params)
    if isinstance(net, Cell):
        return _cell(levels[0].runs[0])
    modules = []
    for level in levels:
        modules.append(build_level(nnx, level, [*map(_cell, level.runs)]))
        if level.dropout:
            modules.append(nnx.Dropout(level.dropout, rngs=nnx.Rngs(0)))
    return modules[0] if len(modules) == 1 else nnx.Sequential(*modules)


def _cell(run: Run) -> "nnx.GRUCell | nnx.OptimizedLSTMCell":
    from flax import nnx

    W_x, W_h, b_x, b_h = join(run.params, ORDERS[run.kind], old=True)
    if b_h.any():
        raise ValueError(
            "to_nnx: b_h must be zero, got other numbers: Flax nnx's GRUCell adds no bias to the "
            "product inside the candidate; Flax linen, Keras, PyTorch and gru_jax.nnx.GRU do."
        )
    # Flax's default recurrent_kernel_init is orthogonal, which JAX cannot draw in 16 bits.
    narrow = b_x.dtype.itemsize == 2
    drawn: dict[str, Any] = {"recurrent_kernel_init": nnx.initializers.zeros} if narrow else {}
    build = nnx.GRUCell if run.kind is GRU else nnx.OptimizedLSTMCell
    cell = nnx.eval_shape(  # abstract, for nothing needs to be drawn
        lambda: build(
            run.input_size,
            run.hidden_size,
            gate_fn=ACTIVATIONS[run.gate_activation],
            activation_fn=ACTIVATIONS[run.activation],
            param_dtype=b_x.dtype,
            rngs=nnx.Rngs(0),
            **drawn,
        )
    )
    weights = {"dense_i": {"kernel": W_x}, "dense_h": {"kernel": W_h}}
    weights[FUSED[run.kind]]["bias"] = b_x
    nnx.update(cell, weights)
    return cell
