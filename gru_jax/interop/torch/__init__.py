"""PyTorch's `nn.GRU` and `nn.GRUCell`, and their state dicts.

    module or state dict  --from_torch-->  net, params  --to_torch-->        module
                                                        --to_torch_state-->  state dict

Its rows stand in the order r, z, n, its z weighs the old state, and each gate has two biases. Those
of r and z are only ever added: they become their sum, and on the way back the second ones are 0.
"""

from gru_jax.interop.torch.exporting import to_torch as to_torch
from gru_jax.interop.torch.exporting import to_torch_state as to_torch_state
from gru_jax.interop.torch.importing import from_torch as from_torch
