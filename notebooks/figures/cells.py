"""Writes the table of the page "Which cell?": `python notebooks/figures/cells.py [--measure]`.

`--measure` times one training step of each cell, all in one interleaved run of about a minute, and
writes `cells.json` beside this file. Without it the table is written again from that file.
"""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
from page_table import write_table

import gru_jax as gj

FIGURES = Path(__file__).parent / "cells.json"
PAGE = Path(__file__).parent.parent / "guide" / "which_cell.md"
BATCH, TIME, INPUT, HIDDEN, ROUNDS = 64, 100, 64, 128, 15
FEATURES = 21  # of gru_d, whose inputs are three parts

CELLS = {
    "gru": ("`z c + (1 - z) h`, gates r and z", "the default", "everywhere"),
    "lstm": (
        "`f c + i g`, then `o tanh(c)`",
        "comparison with a GRU; weights trained elsewhere",
        "everywhere",
    ),
    "mgu": ("a GRU with r = z = f", "a third fewer parameters", "none; Flax's `MGUCell` differs"),
    "li_gru": ("no r, `c = relu(N(x W) + h U)`", "speech", "SpeechBrain"),
    "layer_norm_gru": ("a GRU of normalised products", "hard optimisation", "none"),
    "diagonal_gru": ("vectors act on h in place of matrices", "many units, few parameters", "none"),
    "min_gru": ("z and c from x alone", "long sequences on GPUs and TPUs", "small repositories"),
    "block_gru": ("a GRU of block-diagonal products", "wide states, world models", "DreamerV3"),
    "gru_d": ("a GRU of decayed x and h", "missing values, irregular times", "PyPOTS"),
}
"""What h_t is, what it is for, who has it elsewhere."""


def build(name):
    """Returns the cell, its training step, and the arguments of that."""
    cell = getattr(gj, name)(HIDDEN)
    size = 3 * FEATURES if name == "gru_d" else INPUT
    params = cell.init(jax.random.key(0), size)
    xs = jax.random.normal(jax.random.key(1), (BATCH, TIME, size))
    layer = gj.recurrent(cell)

    def loss(params, xs):
        return (layer.apply(params, xs)[0] ** 2).mean()

    return jax.jit(jax.value_and_grad(loss)), (params, xs)


def measure():
    """Times all cells in turn, and writes the figures."""
    steps = {name: build(name) for name in CELLS}
    for step, args in steps.values():
        jax.block_until_ready(step(*args))
    seconds = {name: [] for name in CELLS}
    for _ in range(ROUNDS):
        for name, (step, args) in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(*args))
            seconds[name].append(time.perf_counter() - start)
    ratios = {name: np.divide(taken, seconds["gru"]) for name, taken in seconds.items()}
    figures = {
        "size": {"batch": BATCH, "time": TIME, "input": INPUT, "hidden": HIDDEN},
        "rounds": ROUNDS,
        "jax": jax.__version__,
        "gru_ms": round(1e3 * float(np.median(seconds["gru"])), 2),
        "cells": {
            name: {
                "parameters": gj.count_parameters(steps[name][1][0]),
                "ratio": [round(float(q), 2) for q in np.quantile(ratios[name], (0.5, 0.25, 0.75))],
            }
            for name in CELLS
        },
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def table(figures):
    """Returns the lines of the table."""
    lines = ["| cell | h_t | parameters | time | for | elsewhere |", "|---|---|---|---|---|---|"]
    for name, (equation, purpose, elsewhere) in CELLS.items():
        own = figures["cells"][name]
        median, low, high = own["ratio"]
        spread = "1" if name == "gru" else f"{median:.1f} ({low:.1f} to {high:.1f})"
        columns = f"`{name}`", equation, f"{own['parameters']:,}", spread, purpose, elsewhere
        lines.append(f"| {' | '.join(columns)} |")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    rows = table(json.loads(FIGURES.read_text()))
    write_table(PAGE, rows[0], rows)
