"""What is shown and written: tables for people, JSON for programs."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Sequence

import jax
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gru_jax.bench.measure import MEASURES, Measure, Outcome
from gru_jax.bench.peers import OURS, PEERS
from gru_jax.bench.problem import Reset, Size
from gru_jax.bench.summary import ratios_to_ours, standing
from gru_jax.bench.timing import spread

COLUMNS = 6
"""Sizes in one table, so that it fits a hundred columns."""

TITLES: dict[Measure, str] = {
    "forward": "Forward pass, ms",
    "train": "Training step (loss and all gradients), ms",
    "first-step": "First training step (trace, compile, run), ms",
    "memory": "Peak temporaries of the training step, MiB",
    "latency": "One time step, ms",
}
UNITS: dict[Measure, float] = {name: 2**20 if name == "memory" else 1e-3 for name in MEASURES}


def tables(console: Console, outcomes: Sequence[Outcome], measures: Sequence[Measure]) -> None:
    """Prints a table for each measure, then how well all agree, and who is missing and why."""
    sizes = list(dict.fromkeys(o.entry.size for o in outcomes))
    for name in measures:
        for first in range(0, len(sizes), COLUMNS):
            _table(console, outcomes, name, sizes[first : first + COLUMNS])
    _agreement(console, outcomes)
    for name in ("forward", "train"):
        for reset in PEERS[OURS].resets:
            if name in measures and (line := sentence(outcomes, name, reset)):
                console.print(line)


def sentence(outcomes: Sequence[Outcome], name: Measure, reset: Reset) -> str | None:
    """Returns how a form of ours stands against the fastest JAX peer, None if there is none."""
    stands = standing(outcomes, name, reset)
    if stands is None:
        return None
    worst, peer = stands.worst, stands.fastest[stands.worst]
    return (
        f"{name}: {OURS} ({reset}) is {stands.mean:.2f} times as fast as the fastest JAX peer at "
        f"each of {len(stands.ratios)} sizes (geometric mean); worst {stands.ratios[worst]:.2f}, "
        f"at {worst} against {peer.library} ({peer.reset})."
    )


def as_json(
    outcomes: Sequence[Outcome], sizes: Sequence[Size], measures: Sequence[Measure], rounds: int
) -> dict:
    """Returns all that was measured, and what it was measured with and on."""
    ratios = {name: ratios_to_ours(outcomes, name) for name in measures}
    standings = {
        name: {reset: standing(outcomes, name, reset) for reset in PEERS[OURS].resets}
        for name in ("forward", "train")
    }
    return {
        "versions": versions(),
        "machine": machine(),
        "sizes": [str(size) for size in sizes],
        "measures": list(measures),
        "rounds": rounds,
        "results": [
            {
                "size": str(outcome.entry.size),
                "library": outcome.entry.library,
                "reset": outcome.entry.reset,
                "reason": outcome.reason,
                "differences": outcome.differences,
                "values": outcome.values,
                "summary": {
                    name: spread(values)._asdict() | {"to_ours": ratios[name][outcome.entry]}
                    for name, values in outcome.values.items()
                },
            }
            for outcome in outcomes
        ],
        "against_fastest_jax_peer": {
            name: {
                reset: {
                    "geometric_mean": s.mean,
                    "worst": str(s.worst),
                    "ratios": {str(size): value for size, value in s.ratios.items()},
                    "fastest": {str(k): [e.library, e.reset] for k, e in s.fastest.items()},
                }
                for reset, s in forms.items()
                if s
            }
            for name, forms in standings.items()
        },
    }


def versions() -> dict[str, str]:
    """Returns the version of everything that takes part and is installed."""
    found = {"python": platform.python_version()}
    packages = [peer.package for peer in PEERS.values()]
    for package in dict.fromkeys(["jax", "jaxlib", "numpy", *packages]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """Returns what the measurement ran on."""
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count() or 1,
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
    }


def dumps(report: dict) -> str:
    """Returns the text of a JSON file."""
    return json.dumps(report, indent=1) + "\n"


def digits(value: float, count: int) -> str:
    """Returns a positive number with so many significant digits, and no power of ten."""
    if value <= 0:
        return "0"
    places = max(0, count - 1 - math.floor(math.log10(value)))
    return f"{value:.{min(places, 4)}f}"


def _table(
    console: Console, outcomes: Sequence[Outcome], name: Measure, sizes: Sequence[Size]
) -> None:
    rows = dict.fromkeys((o.entry.library, o.entry.reset) for o in outcomes if name in o.values)
    cells = {
        o.entry: spread(o.values[name])
        for o in outcomes
        if name in o.values and o.entry.size in sizes
    }
    table = Table(title=TITLES[name], title_justify="left", box=None, padding=(0, 1))
    table.add_column()
    for size in sizes:
        table.add_column(str(size), justify="right")
    for library, reset in rows:
        texts = []
        for size in sizes:
            column = {e: s.median for e, s in cells.items() if e.size == size}
            entry = next((e for e in column if e[1:] == (library, reset)), None)
            if entry is None:
                texts.append("-")
                continue
            best = column[entry] == min(column.values())
            low, high = (getattr(cells[entry], k) / UNITS[name] for k in ("low", "high"))
            text = digits(column[entry] / UNITS[name], 3)
            if name != "memory":
                text += f" ±{digits((high - low) / 2, 1)}"
            texts.append(Text(text, "bold" if best else ""))
        table.add_row(f"{library} ({reset})", *texts)
    console.print(table)
    console.print()


def _agreement(console: Console, outcomes: Sequence[Outcome]) -> None:
    table = Table(title="Largest difference from ours", title_justify="left", box=None)
    for heading in ("", "states", "step", "gradients"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_column("")
    for library, reset in dict.fromkeys(o.entry[1:] for o in outcomes):
        of = [o for o in outcomes if o.entry[1:] == (library, reset)]
        texts = [
            f"{max(found):.1g}"
            if (found := [o.differences[k] for o in of if k in o.differences])
            else "-"
            for k in ("states", "step", "gradients")
        ]
        reasons = dict.fromkeys(o.reason for o in of if o.reason)
        table.add_row(f"{library} ({reset})", *texts, Text("; ".join(reasons)))
    console.print(table)
    console.print()
