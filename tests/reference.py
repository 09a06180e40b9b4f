"""The GRU as plain NumPy loops in float64: the oracle that needs no framework."""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def random_params(rng, input_size, hidden_size, reset):
    """Returns random weights and biases of every leaf, as `GRUParams` orders them."""
    joint = (input_size + hidden_size, hidden_size)
    shapes = [joint, (hidden_size,)] * 3 + [(hidden_size,)] * (reset == "after")
    leaves = [rng.normal(0, 0.5, shape) for shape in shapes]
    return leaves if reset == "after" else [*leaves, None]


def gates(params, x, h):
    """Returns r, z, c and the next state of one step, from the equations."""
    W_r, b_r, W_z, b_z, W_c, b_c, b_h = (p if p is None else np.asarray(p, float) for p in params)
    n = x.shape[-1]
    xh = np.concatenate([x, h], -1)
    r = sigmoid(xh @ W_r + b_r)
    z = sigmoid(xh @ W_z + b_z)
    if b_h is None:
        c = np.tanh(np.concatenate([x, r * h], -1) @ W_c + b_c)
    else:
        c = np.tanh(x @ W_c[:n] + b_c + r * (h @ W_c[n:] + b_h))
    return r, z, c, (1 - z) * h + z * c


def unroll(params, xs, h0, valid, *, reverse=False):
    """Returns hs and h_last for xs [batch, time, input] and valid [batch, time], row by row."""
    hs, h_last = np.zeros((*xs.shape[:2], h0.shape[-1])), np.array(h0, float)
    for row in range(xs.shape[0]):
        h = h_last[row]
        for t in reversed(range(xs.shape[1])) if reverse else range(xs.shape[1]):
            if valid[row, t]:
                h = gates(params, np.asarray(xs[row, t], float), h)[-1]
                hs[row, t] = h
        h_last[row] = h
    return hs, h_last
