"""Writes the tables of the page "Derivatives and memory": `python notebooks/figures/memory.py`.

    --measure   first compiles and times gradients through long sequences, interleaved, and writes
                memory.json. Takes minutes, and 2 GB of memory.

Without an option the tables are written again from the file beside this one. The temporaries are
those that XLA plans for the compiled program.
"""

import itertools
import json
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from page_table import write_table

import gru_jax as gj
from gru_jax.app.bench.results import machine, versions

FIGURES = Path(__file__).parent / "memory.json"
PAGE = Path(__file__).parent.parent / "guide" / "memory.md"
BATCH, HIDDEN, RESET = 16, 128, "after"
LONG = 16_384
SHORT, LONGEST, INPUT_LONGEST = 100, 100_000, 32
"""Steps, and inputs, with which the time of a step is measured."""
ROUNDS, REPEATS = 7, 50
MODES = "gates", "states", "chunked"
BACKENDS = "cpu", "xla"


def loss_of_last(cell, params, xs, **options):
    """Returns a loss that reads the last state."""
    _, h_last = gj.unroll(cell, params, xs, time_axis=0, **options)
    return (h_last**2).mean()


def loss_of_all(cell, params, xs, **options):
    """Returns a loss that reads each state."""
    hs, _ = gj.unroll(cell, params, xs, time_axis=0, **options)
    return (hs**2).mean()


def loss_by_pieces(cell, params, xs, **options):
    """Returns the same loss, piece by piece."""

    @jax.checkpoint
    def piece(h, xs):
        hs, h = gj.unroll(cell, params, xs, h, time_axis=0, **options)
        return h, (hs**2).mean()

    pieces = xs.reshape(-1, round(len(xs) ** 0.5), *xs.shape[1:])
    return jax.lax.scan(piece, jnp.zeros((xs.shape[1], HIDDEN)), pieces)[1].mean()


LOSSES = {
    "the last state": loss_of_last,
    "every state": loss_of_all,
    "every state, in pieces": loss_by_pieces,
}


def build(steps, input_size, loss, **options):
    """Returns the compiled gradient, and its parameters."""
    cell = gj.gru(HIDDEN, reset=RESET)
    params = cell.init(jax.random.key(0), input_size)
    xs = jax.ShapeDtypeStruct((steps, BATCH, input_size), jnp.float32)
    gradient = jax.jit(jax.value_and_grad(partial(loss, cell, **options)))
    return gradient.lower(params, xs).compile(), params


def temporaries(program):
    """Returns the bytes of temporaries."""
    return program[0].memory_analysis().temp_size_in_bytes


def take_turns(calls):
    """Returns the times of functions that run in turn, after a warm-up: median and quartiles."""
    seconds = {name: [] for name in calls}
    for number in range(-1, ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    names, quantiles = ("median", "low", "high"), (0.5, 0.25, 0.75)
    return {
        name: dict(zip(names, np.quantile(taken, quantiles).tolist(), strict=True))
        for name, taken in seconds.items()
    }


def repeat(program, xs, count):
    """Calls a program several times; returns its last result."""
    compiled, params = program
    for _ in range(count - 1):
        jax.block_until_ready(compiled(params, xs))
    return compiled(params, xs)


def measure_modes():
    """Returns temporaries and times of each mode, in the kernel and in XLA's loops."""
    xs = jax.random.normal(jax.random.key(1), (LONG, BATCH, HIDDEN))
    cases = [
        {"memory": memory, "derivative": "rule", "backend": backend}
        for memory, backend in itertools.product(MODES, BACKENDS)
    ] + [{"memory": None, "derivative": "autodiff", "backend": "xla"}]
    programs = [build(LONG, HIDDEN, loss_of_last, **case) for case in cases]
    calls = {i: partial(repeat, program, xs, 1) for i, program in enumerate(programs)}
    seconds = take_turns(calls)
    return [
        case | {"temporary_bytes": temporaries(programs[i]), "seconds": seconds[i]}
        for i, case in enumerate(cases)
    ]


def measure_losses():
    """Returns the temporaries of losses that read one state or all."""
    return [
        {
            "reads": name,
            "memory": "chunked",
            "backend": backend,
            "temporary_bytes": temporaries(
                build(LONG, HIDDEN, loss, memory="chunked", backend=backend)
            ),
        }
        for name, loss in LOSSES.items()
        for backend in BACKENDS
    ]


def measure_lengths():
    """Returns the time of a step in a short and in a very long sequence."""
    key, rows, calls = jax.random.key(1), {}, {}
    for steps, backend in itertools.product((SHORT, LONGEST), BACKENDS):
        program = build(steps, INPUT_LONGEST, loss_of_last, memory="chunked", backend=backend)
        xs = jax.random.normal(key, (steps, BATCH, INPUT_LONGEST))
        row = {"steps": steps, "memory": "chunked", "backend": backend}
        rows[steps, backend] = row | {"temporary_bytes": temporaries(program)}
        calls[steps, backend] = partial(repeat, program, xs, REPEATS if steps == SHORT else 1)
    for case, seconds in take_turns(calls).items():
        count = case[0] * (REPEATS if case[0] == SHORT else 1)
        rows[case]["seconds_per_step"] = {name: s / count for name, s in seconds.items()}
    return list(rows.values())


def measure():
    """Measures everything, and writes the figures."""
    size = {"batch": BATCH, "input": HIDDEN, "hidden": HIDDEN, "reset": RESET, "time_axis": 0}
    figures = {
        "versions": {name: versions()[name] for name in ("python", "jax", "jaxlib", "numpy")},
        "machine": machine(),
        "rounds": ROUNDS,
        "modes": {"size": {"steps": LONG} | size, "rows": measure_modes()},
        "losses": {"size": {"steps": LONG} | size, "rows": measure_losses()},
        "lengths": {"size": size | {"input": INPUT_LONGEST}, "rows": measure_lengths()},
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def megabytes(row):
    return f"{row['temporary_bytes'] / 1e6:,.0f} MB"


def modes_table(figures):
    """Returns the lines of the table of modes."""
    rows = {
        (row["memory"], row["backend"]): (megabytes(row), f"{row['seconds']['median']:.2f} s")
        for row in figures["modes"]["rows"]
    }
    names = {memory: f'`memory="{memory}"`' for memory in MODES}
    names["states"] += " (the default here)"
    lines = [
        f'| T = {LONG:,} | temporaries | time | temporaries, `backend="xla"` '
        '| time, `backend="xla"` |',
        "|---|---|---|---|---|",
    ]
    for memory, name in names.items():
        columns = name, *rows[memory, "cpu"], *rows[memory, "xla"]
        lines.append(f"| {' | '.join(columns)} |")
    lines.append(f'| `derivative="autodiff"` | | | {" | ".join(rows[None, "xla"])} |')
    return lines


def losses_table(figures):
    """Returns the lines of the table of losses."""
    lines = ['| the loss reads | temporaries | `backend="xla"` |', "|---|---|---|"]
    for name in LOSSES:
        rows = [row for row in figures["losses"]["rows"] if row["reads"] == name]
        lines.append(f"| {' | '.join([name, *map(megabytes, rows)])} |")
    return lines


def lengths_table(figures):
    """Returns the lines of the table of lengths."""
    lines = [
        '| `memory="chunked"` | time per step | temporaries | time per step, `backend="xla"` '
        '| temporaries, `backend="xla"` |',
        "|---|---|---|---|---|",
    ]
    for steps in (SHORT, LONGEST):
        columns = [f"T = {steps:,}"]
        for row in figures["lengths"]["rows"]:
            if row["steps"] == steps:
                columns += f"{1e6 * row['seconds_per_step']['median']:.0f} µs", megabytes(row)
        lines.append(f"| {' | '.join(columns)} |")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    measured = json.loads(FIGURES.read_text())
    write_table(PAGE, f"| T = {LONG:,} |", modes_table(measured))
    write_table(PAGE, "| the loss reads |", losses_table(measured))
    write_table(PAGE, '| `memory="chunked"` | time', lengths_table(measured))
