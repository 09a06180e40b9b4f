"""PyTorch's `nn.GRU`, `nn.GRUCell`, `nn.LSTM`, `nn.LSTMCell`, and their state dicts.

    module or state dict  --from_torch-->  net, params  --to_torch-->        module
                                                        --to_torch_state-->  state dict

The rows of a GRU are in the order r, z, n, and z weighs the old state. The rows of an LSTM are in
the order i, f, g, o. Each gate has two biases. But for n, they are only ever added: they become
their sum, and on the way back a sum and 0.
"""
