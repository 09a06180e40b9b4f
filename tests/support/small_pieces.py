"""Pieces of a few notes, in a file as the published ones are."""

import numpy as np
from scipy.io import savemat

NOTES = 5


def draw_pieces(seed, lengths):
    """Returns pieces in which a note is often held, and the rest is chance."""
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        notes = rng.random((length, NOTES)) < 0.3
        held = rng.random((length, NOTES)) < 0.6
        for t in range(1, length):
            notes[t] = np.where(held[t], notes[t - 1], notes[t])
        pieces.append(notes.astype("uint8"))
    return pieces


LENGTHS = {"traindata": (9, 70, 2, 33, 64, 65, 130, 12), "validdata": (5, 20), "testdata": (7, 3)}
PARTS = {name: draw_pieces(i, lengths) for i, (name, lengths) in enumerate(LENGTHS.items())}


def write(path, parts):
    """Writes parts as the published files have them: cells [1, pieces]."""
    cells = {}
    for name, pieces in parts.items():
        cells[name] = np.empty((1, len(pieces)), object)
        for i, piece in enumerate(pieces):
            cells[name][0, i] = piece
    savemat(path, cells)
    return path
