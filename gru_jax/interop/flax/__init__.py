"""Flax's GRUs, of linen and of nnx, and their checkpoints.

linen module, variables  --from_linen-->  net, params  --to_linen-->  linen module, variables
nnx module or state      --from_nnx---->               --to_nnx---->  nnx module
.msgpack, Orbax folder   --interop.read->              --interop.write->  .msgpack
"""

from gru_jax.interop.flax.linen import from_linen as from_linen
from gru_jax.interop.flax.linen import to_linen as to_linen
from gru_jax.interop.flax.nnx import from_nnx as from_nnx
from gru_jax.interop.flax.nnx import to_nnx as to_nnx
