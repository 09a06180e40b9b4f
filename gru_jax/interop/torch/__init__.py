"""PyTorch's `nn.GRU` and `nn.GRUCell`, and their state dicts.

    module or state dict  --from_torch-->  net, params  --to_torch-->        module
                                                        --to_torch_state-->  state dict

Its rows are in the order r, z, n, its z weighs the old state, and each gate has two biases. The two
biases of r, and of z, are only ever added: they become their sum, and on the way back a sum and 0.
"""
