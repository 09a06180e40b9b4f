"""Flax's cells and layers, and the trees of their weights."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from interop_cases import AFTER, HIDDEN, INPUT

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.flax.cell_arrays import OWN as OWN_NAMES

RNN = nn.RNN(nn.GRUCell(HIDDEN))
PLAIN = interop.to_linen(AFTER, AFTER.init(jax.random.key(0), INPUT))[1]["params"]
"""The weights of linen's cell by their names."""
OWN = {name: np.ones((7, 4) if "W" in name else 4, "f") for name in OWN_NAMES}
"""The weights of our modules by their names."""


def cell(dtype="float32", **options):
    return gj.gru(HIDDEN, reset="after", dtype=dtype, **options)


def nnx_cell():
    return nnx.GRUCell(INPUT, HIDDEN, rngs=nnx.Rngs(0))


def without_b_h(tree):
    """Returns parameters whose b_h are zero: nnx has no such bias."""

    def zero(node):
        return node._replace(b_h=jnp.zeros_like(node.b_h))

    return jax.tree.map(
        lambda node: zero(node) if isinstance(node, gj.GRUParams) else node,
        tree,
        is_leaf=lambda node: isinstance(node, gj.GRUParams),
    )
