"""A text of few words, the flags of a small net that reads it, and that net in plain loops."""

import numpy as np
import reference

WORDS = "the cat sat on a mat and saw that man eat one hot stew".split()
SMALL_TEXT = [
    *("--embed", "4", "--hidden", "7", "--layers", "2", "--batch", "3"),
    *("--chunk", "16", "--chunks", "12", "--epochs", "3"),
]


def write_text(path, words=1600, seed=0):
    """Writes lines of words, some of them long; returns the text."""
    rng = np.random.default_rng(seed)
    text = ""
    while words > 0:
        count = min(int(rng.integers(1, 12)), words)
        text += " ".join(rng.choice(WORDS, count)).capitalize() + ".\n"
        words -= count
    path.write_text(text)
    return text


def read_by_hand(params, tokens):
    """Returns the logits behind each token, by plain loops in float64; dropout does nothing."""
    (embedding,), *layers, (W, b) = params
    cells = [layer for layer in layers if layer]
    states, logits = [np.zeros(cell.b_r.shape) for cell in cells], []
    for token in tokens:
        y = np.asarray(embedding, float)[token]
        for i, cell in enumerate(cells):
            *_, y = reference.gates(cell, y, states[i])
            states[i] = y
        logits.append(y @ np.asarray(W, float) + np.asarray(b, float))
    return np.array(logits)


def measure_by_hand(params, tokens):
    """Returns the bits of each token but the first."""
    logits = read_by_hand(params, tokens[:-1])
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -logs[np.arange(len(logs)), tokens[1:]] / np.log(2)
