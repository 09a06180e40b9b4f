"""PyTorch's `nn.GRU`, `nn.GRUCell`, `nn.LSTM`, `nn.LSTMCell`, and their state dicts.

    module or state dict  --from_torch-->  net, params  --to_torch-->        module
                                                        --to_torch_state-->  state dict

The rows of a GRU are in the order r, z, n, those of an LSTM in the order i, f, g, o. z weighs the
old state. Each gate has two biases, which are only ever added, but for those of n: they become
their sum, and on the way back a sum and 0.
"""
