"""Flax's GRUs and LSTMs, of linen and of nnx, and their checkpoints.

linen module, variables  --from_linen-->  net, params  --to_linen-->  linen module, variables
nnx module or state      --from_nnx---->               --to_nnx---->  nnx module
.msgpack, Orbax folder   --interop.read->              --interop.write->  .msgpack
"""
