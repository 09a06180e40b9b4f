"""The tables that people see."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gru_jax.app.bench.measure import COUNTED, FIRST_STEPS, TURNS, Entry, Measure, Outcome
from gru_jax.app.bench.peers import OURS, PEERS
from gru_jax.app.bench.problem import Reset, Size
from gru_jax.app.bench.summary import (
    OUTSIDE,
    TITLES,
    label,
    machine,
    rate,
    shares,
    standing,
    values_of,
    versions,
)
from gru_jax.app.bench.timing import Spread, spread

LABEL, CELL = len("gru_jax (before)"), len("0.123 ±0.004")
"""The widths of a table's columns, at most."""

WHAT: dict[Measure, str] = {
    "train": ": loss and gradients of all weights and the inputs",
    "first-step": ": trace, compile and run",
}


def describe(console: Console, rounds: int) -> None:
    """Prints what is about to be measured, and on what."""
    on = machine()
    table = Table.grid(padding=(0, 2))
    for name, fact in {
        "device": f"{on['device']}, {on['cpus']} CPUs, {on['platform']}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "times": f"medians over {rounds} rounds (first step: {min(rounds, FIRST_STEPS)}) "
        "± half the interquartile range",
    }.items():
        table.add_row(Text(name, "dim"), Text(fact, overflow="fold"))
    console.print(table)


def tables(console: Console, outcomes: Sequence[Outcome], measures: Sequence[Measure]) -> None:
    """Prints a table for each measure, then how well all agree, who is missing and why."""
    for name in measures:
        values = values_of(outcomes, name)
        sizes = list(dict.fromkeys(entry.size for entry in values))
        unit, per_unit = _unit(name, list(values.values()))
        for some in _parts(sizes, console.width):
            console.print(f"\n[bold]{TITLES[name]}[/]{WHAT.get(name, '')} ({unit})")
            here = {entry: v for entry, v in values.items() if entry.size in some}
            table = _table(here, per_unit, with_spread=name != "memory")
            wide = LABEL + (CELL + 2) * len(some) < console.width
            table.padding = (0, 2 if wide else 1, 0, 0)
            console.print(table)
    if slow := sum(outcome.slow for outcome in outcomes):
        turns = sum(len(o.values[n]) for o in outcomes for n in o.values if n in TURNS)
        console.print(f"\n{slow} of {turns} turns ended on a machine slower than at its best.")
    _print_shares(console, outcomes)
    console.print("\n[bold]Agreement[/]: the largest differences from ours")
    console.print(_agreement(outcomes))
    lines = [
        line
        for name in measures
        for reset in PEERS[OURS].resets
        if name in COUNTED and (line := sentence(outcomes, name, reset))
    ]
    console.print("", *lines, sep="\n")
    outside = [
        line
        for library in OUTSIDE
        for name in measures
        if name in COUNTED and (line := short_sentence(outcomes, name, library))
    ]
    if outside:
        console.print("\n[bold]Outside JAX[/]: geometric means over the sizes", *outside, sep="\n")


def sentence(outcomes: Sequence[Outcome], name: Measure, reset: Reset) -> str | None:
    """Returns how a form of ours stands against the fastest JAX peer, None if there is none."""
    stands = standing(outcomes, name, reset)
    if stands is None:
        return None
    worst = stands.worst
    return (
        f"{TITLES[name]}: {label(OURS, reset)} is {stands.mean:.2f} times as fast as the fastest "
        f"JAX peer at each size (geometric mean), at worst {stands.ratios[worst]:.2f} times: "
        f"{worst}, {label(*stands.fastest[worst][1:])}."
    )


def short_sentence(outcomes: Sequence[Outcome], name: Measure, library: str) -> str | None:
    """Returns how both forms of ours stand against one library, None if nothing is to be said."""
    found = {reset: standing(outcomes, name, reset, [library]) for reset in PEERS[OURS].resets}
    texts = [
        f"{stands.mean:.2f} ({reset}; worst {min(stands.ratios.values()):.2f})"
        for reset, stands in found.items()
        if stands
    ]
    return f"{TITLES[name]}: {' and '.join(texts)} times as fast as {library}." if texts else None


def _parts(sizes: Sequence[Size], width: int) -> list[Sequence[Size]]:
    """Returns the sizes in parts that fit a width."""
    columns = max(1, (width - LABEL) // (CELL + 1))
    return [sizes[first : first + columns] for first in range(0, len(sizes), columns)]


def _frame(sizes: Sequence[Size]) -> Table:
    table = Table(box=None)
    table.add_column("batch,time,\ninput,hidden", no_wrap=True, header_style="dim")
    for size in sizes:
        heading = "{},{},\n{},{}".format(*size)
        table.add_column(heading, justify="right", no_wrap=True, header_style="dim")
    return table


def _print_shares(console: Console, outcomes: Sequence[Outcome]) -> None:
    found = {
        (TITLES[name], reset): here
        for name in COUNTED
        for reset in PEERS[OURS].resets
        if (
            here := {e.size: s for e, s in shares(outcomes, name).items() if e[1:] == (OURS, reset)}
        )
    }
    sizes = list(dict.fromkeys(size for here in found.values() for size in here))
    for some in _parts(sizes, console.width):
        most = (rate(outcomes) or 0) / 1e9
        console.print(
            f"\n[bold]Share of peak[/]: what the GRU's products reach of {most:.0f} Gflop/s, "
            "NumPy's square products (%)"
        )
        table = _frame(some)
        table.padding = (0, 2, 0, 0)
        for (title, reset), here in found.items():
            cells = [f"{100 * here[size]:.1f}" if size in here else "-" for size in some]
            table.add_row(f"{title} ({reset})", *cells)
        console.print(table)


def _unit(name: Measure, values: Sequence[Sequence[float]]) -> tuple[str, float]:
    if name == "memory":
        return "MiB", 2**20
    medians = [spread(times).median for times in values]
    micro = bool(medians) and min(medians) < 1e-4 and max(medians) < 0.1
    return ("µs", 1e-6) if micro else ("ms", 1e-3)


def _table(values: Mapping[Entry, Sequence[float]], per_unit: float, *, with_spread: bool) -> Table:
    spreads = {entry: spread(times) for entry, times in values.items()}
    sizes = list(dict.fromkeys(entry.size for entry in spreads))
    best = {s: min(v.median for e, v in spreads.items() if e.size == s) for s in sizes}
    table = _frame(sizes)
    whose: dict[tuple[str, Reset], None] = dict.fromkeys((e.library, e.reset) for e in spreads)
    for library, reset in whose:
        texts = [Text(label(library, reset))]
        for size in sizes:
            found = spreads.get(Entry(size, library, reset))
            if found is None:
                texts.append(Text("-"))
                continue
            median, around = _cell(found, per_unit)
            text = Text(median, "bold green" if found.median == best[size] else "")
            texts.append(text.append(f" ±{around}", "dim") if with_spread else text)
        table.add_row(*texts)
    return table


def _cell(found: Spread, per_unit: float) -> tuple[str, str]:
    """Returns a median with three significant digits, and its spread to the same decimal."""
    median = found.median / per_unit
    places = min(3, max(0, 2 - math.floor(math.log10(median)))) if median > 0 else 0
    return f"{median:.{places}f}", f"{(found.high - found.low) / per_unit / 2:.{places}f}"


def _agreement(outcomes: Sequence[Outcome]) -> Table:
    kinds = ("states", "step", "gradients")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for kind in kinds:
        table.add_column(kind, justify="right", header_style="dim")
    table.add_column()
    whose: dict[tuple[str, Reset], None] = dict.fromkeys(o.entry[1:] for o in outcomes)
    for who in whose:
        theirs = [outcome for outcome in outcomes if outcome.entry[1:] == who]
        texts = []
        for kind in kinds:
            found = [o.differences[kind] for o in theirs if kind in o.differences]
            largest = float(np.max(found)) if found else None  # Python's max might lose a NaN
            texts.append("-" if largest is None else f"{largest:.0e}" if largest else "0")
        sizes: dict[str, list[str]] = {}
        for outcome in theirs:
            if outcome.reason:
                sizes.setdefault(outcome.reason, []).append(str(outcome.entry.size))
        reasons = [
            reason if len(at) == len(theirs) else f"{reason} (at {' '.join(at)})"
            for reason, at in sizes.items()
        ]
        table.add_row(Text(label(*who)), *texts, Text("; ".join(reasons)))
    return table
