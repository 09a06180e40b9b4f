"""The GRU as plain NumPy loops in float64: the oracle that needs no framework."""

import itertools

import numpy as np
from scipy.signal import correlate

ACTIVATIONS = {
    "elu": lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))),
    "hard_sigmoid": lambda a: np.clip(a / 6 + 0.5, 0, 1),
    "hard_tanh": lambda a: np.clip(a, -1, 1),
    "linear": lambda a: a,
    "relu": lambda a: np.where(a > 0, a, 0),
    "relu6": lambda a: np.clip(a, 0, 6),
    "selu": lambda a: 1.0507009873554805 * np.where(a > 0, a, 1.6732632423543772 * np.expm1(a)),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "silu": lambda a: a / (1 + np.exp(-a)),
    "softplus": lambda a: np.log1p(np.exp(a)),
    "softsign": lambda a: a / (1 + np.abs(a)),
    "tanh": np.tanh,
}
sigmoid = ACTIVATIONS["sigmoid"]


def random_params(rng, input_size, hidden_size, reset):
    """Returns random weights and biases of every leaf, as `GRUParams` orders them."""
    joint = (input_size + hidden_size, hidden_size)
    shapes = [joint, (hidden_size,)] * 3 + [(hidden_size,)] * (reset == "after")
    leaves = [rng.normal(0, 0.5, shape) for shape in shapes]
    return leaves if reset == "after" else [*leaves, None]


def gates(params, x, h, *, activation=np.tanh, gate_activation=sigmoid):
    """Returns r, z, c and the next state of one step, from the equations."""
    W_r, b_r, W_z, b_z, W_c, b_c, b_h = (p if p is None else np.asarray(p, float) for p in params)
    n = x.shape[-1]
    xh = np.concatenate([x, h], -1)
    r = gate_activation(xh @ W_r + b_r)
    z = gate_activation(xh @ W_z + b_z)
    if b_h is None:
        c = activation(np.concatenate([x, r * h], -1) @ W_c + b_c)
    else:
        c = activation(x @ W_c[:n] + b_c + r * (h @ W_c[n:] + b_h))
    return r, z, c, (1 - z) * h + z * c


def normalize(a, gain, epsilon):
    """Returns rows of mean 0 and variance 1, times the gain."""
    mean = a.mean(-1, keepdims=True)
    return gain * (a - mean) / np.sqrt(a.var(-1, keepdims=True) + epsilon)


def layer_norm_gates(params, x, h, *, epsilon=1e-6):
    """Returns r, z, c and the next state of one step with layer normalisation."""
    W_r, b_r, W_z, b_z, W_c, b_c, b_h, *gains = (
        p if p is None else np.asarray(p, float) for p in params
    )
    g_rx, g_zx, g_cx, g_rh, g_zh, g_ch = gains
    n = x.shape[-1]

    def norm(a, gain):
        return normalize(a, gain, epsilon)

    r = sigmoid(norm(x @ W_r[:n], g_rx) + norm(h @ W_r[n:], g_rh) + b_r)
    z = sigmoid(norm(x @ W_z[:n], g_zx) + norm(h @ W_z[n:], g_zh) + b_z)
    if b_h is None:
        c = np.tanh(norm(x @ W_c[:n], g_cx) + norm((r * h) @ W_c[n:], g_ch) + b_c)
    else:
        c = np.tanh(norm(x @ W_c[:n], g_cx) + b_c + r * (norm(h @ W_c[n:], g_ch) + b_h))
    return r, z, c, (1 - z) * h + z * c


def mgu_gates(params, x, h):
    """Returns f, f, c and the next state of one step of the minimal gated unit."""
    W_f, b_f, W_c, b_c = (np.asarray(p, float) for p in params)
    f = sigmoid(np.concatenate([x, h], -1) @ W_f + b_f)
    c = np.tanh(np.concatenate([x, f * h], -1) @ W_c + b_c)
    return f, f, c, (1 - f) * h + f * c


def min_gru_gates(params, x, h, *, activation=ACTIVATIONS["linear"]):
    """Returns NaN for r, then z, c and the next state of one step of the minGRU."""
    W_z, b_z, W_c, b_c = (np.asarray(p, float) for p in params)
    z, c = sigmoid(x @ W_z + b_z), activation(x @ W_c + b_c)
    return np.nan, z, c, (1 - z) * h + z * c


def diagonal_gates(params, x, h):
    """Returns r, z, c and the next state of one step with diagonal weights on the state."""
    W_r, u_r, b_r, W_z, u_z, b_z, W_c, u_c, b_c = (np.asarray(p, float) for p in params)
    r = sigmoid(x @ W_r + u_r * h + b_r)
    z = sigmoid(x @ W_z + u_z * h + b_z)
    c = np.tanh(x @ W_c + u_c * (r * h) + b_c)
    return r, z, c, (1 - z) * h + z * c


def li_gru_gates(params, x, h, *, epsilon=1e-6):
    """Returns NaN for r, then z, c and the next state of one step of the light GRU."""
    W_z, b_z, W_c, b_c, g_z, g_c = (np.asarray(p, float) for p in params)
    n = x.shape[-1]
    z = sigmoid(normalize(x @ W_z[:n], g_z, epsilon) + h @ W_z[n:] + b_z)
    c = ACTIVATIONS["relu"](normalize(x @ W_c[:n], g_c, epsilon) + h @ W_c[n:] + b_c)
    return np.nan, z, c, (1 - z) * h + z * c


def block_gru_gates(params, x, h, *, epsilon=1e-4):
    """Returns r, z, c and the next state of one step of the block-diagonal GRU, block by block."""
    W_x, b_x, g_x, W_h, b_h, g_h, layers, *gates = params
    W_x, b_x, g_x, W_h, b_h, g_h = (np.asarray(p, float) for p in (W_x, b_x, g_x, W_h, b_h, g_h))

    def activate(a, gain):
        mean_square = (a**2).sum(-1, keepdims=True) / a.shape[-1]
        return ACTIVATIONS["silu"](gain * a / np.sqrt(mean_square + epsilon))

    def multiply(parts, W):
        pairs = zip(parts, np.asarray(W, float), strict=True)
        return np.concatenate([part @ own for part, own in pairs], -1)

    u, v, blocks = activate(x @ W_x + b_x, g_x), activate(h @ W_h + b_h, g_h), len(gates[0])
    parts = [np.concatenate([u, v, part], -1) for part in np.split(h, blocks, -1)]
    for W, b, g in layers:
        a = activate(multiply(parts, W) + np.asarray(b, float), np.asarray(g, float))
        parts = np.split(a, blocks, -1)
    r, z, c = (
        multiply(parts, W) + np.asarray(b, float)
        for W, b in zip(gates[::2], gates[1::2], strict=True)
    )
    r, z = sigmoid(r), sigmoid(z)
    c = np.tanh(r * c)
    return r, z, c, (1 - z) * h + z * c


def gru_d_gates(params, x, state):
    """Returns NaN for r and c, 1 for z, and the next h and x_last side by side, of GRU-D.

    So z mixes nothing, and `unroll` carries the whole state: the third value is c in the mixture.
    """
    (*gru, b_h), w_x, b_x, W_h, b_decay, mean = params
    w_x, b_x, W_h, b_decay, mean = (np.asarray(p, float) for p in (w_x, b_x, W_h, b_decay, mean))
    values, m, d = np.split(x, 3, -1)
    h, x_last = state[..., : len(b_decay)], state[..., len(b_decay) :]
    gamma_x = np.exp(-np.maximum(0, w_x * d + b_x))
    gamma_h = np.exp(-np.maximum(0, d @ W_h + b_decay))
    values = np.where(m == 1, values, 0)
    x_hat = m * values + (1 - m) * (gamma_x * x_last + (1 - gamma_x) * mean)
    *_, h = gates((*gru, b_h), np.concatenate([x_hat, m], -1), gamma_h * h)
    state = np.concatenate([h, m * values + (1 - m) * x_last], -1)
    return np.nan, 1, state, state


def lstm_values(params, x, state):
    """Returns i, f, g, o and the next state of one step of the LSTM; a state is h and c in one."""
    W_i, b_i, W_f, b_f, W_g, b_g, W_o, b_o = (np.asarray(p, float) for p in params)
    h, c = np.split(state, 2, -1)
    xh = np.concatenate([x, h], -1)
    i, f, o = sigmoid(xh @ W_i + b_i), sigmoid(xh @ W_f + b_f), sigmoid(xh @ W_o + b_o)
    g = np.tanh(xh @ W_g + b_g)
    c = f * c + i * g
    return i, f, g, o, np.concatenate([o * np.tanh(c), c], -1)


def lstm_gates(params, x, state):
    """Returns NaN for r, 1 for z, and the next h and c side by side, of the LSTM.

    So z mixes nothing, and `unroll` carries the whole state: the third value is c in the mixture.
    """
    *_, state = lstm_values(params, x, state)
    return np.nan, 1, state, state


def convolve(x, W):
    """Returns x * W for x [*batch, *space, input], by SciPy, one pair of channels at a time."""
    *kernel, size, output = W.shape
    batch = x.shape[: x.ndim - 1 - len(kernel)]
    padded = np.pad(
        x,
        [*[(0, 0)] * len(batch), *(((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel), (0, 0)],
    )
    y = np.zeros((*x.shape[:-1], output))
    for row in np.ndindex(*batch):
        for i, o in itertools.product(range(size), range(output)):
            y[row][..., o] += correlate(padded[row][..., i], W[..., i, o], mode="valid")
    return y


def conv_gates(params, x, h, *, activation=np.tanh, epsilon=1e-6):
    """Returns r, z, c and the next state of one step of a convolutional GRU."""
    W, b, X, g = (
        {name[-1]: np.asarray(leaf, float) for name, leaf in named.items() if name[0] == letter}
        for named in [{k: v for k, v in params._asdict().items() if v is not None}]
        for letter in "WbXg"
    )
    channels = h.shape[-1]
    size, axes = W["r"].shape[-2] - channels, W["r"].ndim - 2
    x, context = x[..., :size], x[..., size:]
    lines = [[0.0] if n == 1 else np.linspace(-1, 1, n) for n in x.shape[-1 - axes : -1]]
    place = np.stack(np.meshgrid(*lines, indexing="ij"), -1)

    def more(gate):
        total = convolve(place, X[gate]) if X else 0.0
        return total + (np.split(context, 3, -1)["rzc".index(gate)] if context.size else 0.0)

    def activate(function, gate, a):
        if g:
            over = tuple(range(-1 - axes, 0))
            a = g[gate] * (a - a.mean(over, keepdims=True))
            a /= np.sqrt((a / g[gate]).var(over, keepdims=True) + epsilon)
        return function(a + b[gate])

    both = np.concatenate([x, h], -1)
    r = activate(sigmoid, "r", convolve(both, W["r"]) + more("r"))
    z = activate(sigmoid, "z", convolve(both, W["z"]) + more("z"))
    if "h" in b:
        x_c, h_c = convolve(x, W["c"][..., :size, :]), convolve(h, W["c"][..., size:, :])
        a = x_c + more("c") + r * (h_c + b["h"])
    else:
        a = convolve(np.concatenate([x, r * h], -1), W["c"]) + more("c")
    c = activate(activation, "c", a)
    return r, z, c, (1 - z) * h + z * c


def segments(valid, resets):
    """Returns the valid steps of one row as lists, a new one from each reset on.

    The first list is what comes before any reset, and may be empty.
    """
    pieces = [[]]
    for t in np.flatnonzero(valid):
        if resets[t]:
            pieces.append([])
        pieces[-1].append(t)
    return pieces


def unroll(params, xs, h0, valid, **options):
    """Returns hs and h_last, as `trace` has them."""
    recorded = trace(params, xs, h0, valid, **options)
    return recorded["h"], recorded["h_last"]


def trace(
    params,
    xs,
    h0,
    valid,
    *,
    reverse=False,
    resets=None,
    h_reset=None,
    hold=0.0,
    drop=1.0,
    clip=np.inf,
    gates=gates,
):
    """Returns r, z, c, h, h_before and h_last for xs [batch, time, input], row by row.

    Args:
        params: of one step.
        xs: inputs.
        h0: the state before the first step in the direction of travel.
        valid: which steps are not padding, [batch, time].
        reverse: the direction.
        resets: steps at which a new segment begins; each segment but the first in the direction of
            travel starts from `h_reset`, and, forward, the first too if it has a reset.
        h_reset: [batch, hidden].
        hold: zoneout: what share of the old state is kept, for each [batch, time, hidden].
        drop: recurrent dropout: what multiplies the state that gates see, for each [batch, hidden].
        clip: bound of each state.
        gates: of one step.
    """
    shape = (*xs.shape[:2], *h0.shape[1:])
    resets = np.zeros(shape[:2], bool) if resets is None else resets
    hold, drop = np.broadcast_to(hold, shape), np.broadcast_to(drop, h0.shape)
    trace = {name: np.zeros(shape) for name in ("r", "z", "c", "h", "h_before")}
    h_last = np.array(h0, float)
    for row in range(xs.shape[0]):
        h = h_last[row]
        pieces = segments(valid[row], resets[row])
        # What stands before the first reset goes on from h0; backwards, what stands after the last.
        if reverse:
            pieces = [piece[::-1] for piece in pieces[::-1]]
            pieces = pieces if pieces[-1] else pieces[:-1]
        for i, piece in enumerate(pieces):
            if i:
                h = np.asarray(h_reset[row], float)
            for t in piece:
                r, z, c, _ = gates(params, np.asarray(xs[row, t], float), drop[row] * h)
                h_next = np.clip((1 - z) * h + z * c, -clip, clip)
                h_next = hold[row, t] * h + (1 - hold[row, t]) * h_next
                step = {"r": r, "z": z, "c": c, "h": h_next, "h_before": h}
                for name, value in step.items():
                    trace[name][row, t] = value
                h = h_next
        h_last[row] = h
    return trace | {"h_last": h_last}
