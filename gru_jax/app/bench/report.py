"""The tables: times, ratios and agreement, with no more digits than the spread supports."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gru_jax.app import console as show
from gru_jax.app.bench.contenders import OURS
from gru_jax.app.bench.measure import Measure, Result
from gru_jax.app.bench.problem import Size
from gru_jax.app.bench.results import machine, relative, versions
from gru_jax.app.bench.timing import Spread, spread

TITLES: dict[Measure, str] = {
    "forward": "Forward pass",
    "train": "Training step: loss and gradients of all weights and the inputs",
}
LABEL, CELL = len("gru_jax (before)"), len("0.0123 ±0.0004")
"""Largest widths of a table's columns."""


def digits(values: Spread) -> tuple[str, str]:
    """Returns the median, and half the interquartile range to one significant digit.

    The median has the same decimal place and at most three significant digits. Without a spread, as
    after one round, it has two.
    """
    median, half = values.median, (values.high - values.low) / 2
    first = math.floor(math.log10(median))
    place = max(first - 2, math.floor(math.log10(half))) if half else first - 1
    around = max(half, 10.0**place) if half else 0.0
    text, spread = (f"{round(value, -place):.{max(0, -place)}f}" for value in (median, around))
    return text, f" ±{spread}" if half else ""


def print_setup(console: Console, rounds: int) -> None:
    """Prints the device, the versions and the number of rounds."""
    facts = machine()
    texts = {
        "device": f"{facts['device']}, {facts['cpus']} CPUs, {facts['platform']}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "times": f"medians over {rounds} rounds ± half the interquartile range",
    }
    show.facts(console, texts)


def print_results(console: Console, results: Sequence[Result], measures: Sequence[Measure]) -> None:
    """Prints the times, a summary of each contender, and why some have no times."""
    columns = max(1, (console.width - LABEL) // (CELL + 1))
    for measure in measures:
        rows = [row for row in results if measure in row.values]
        sizes = list(dict.fromkeys(row.size for row in rows))
        for first in range(0, len(sizes), columns):
            console.print(f"\n[bold]{TITLES[measure]}[/] (ms)")
            console.print(_times(rows, measure, sizes[first : first + columns]))
    console.print(
        "\n[bold]Beside gru_jax of the same form[/]: times as long (geometric mean over sizes,\n"
        "least), and largest differences of states and gradients"
    )
    console.print(_summary(results, measures))
    reasons: dict[str, list[str]] = {}
    for row in results:
        if row.reason:
            reasons.setdefault(f"{row.label}: {row.reason}", []).append(str(row.size))
    for reason, sizes in reasons.items():
        console.print(f"{reason} ({' '.join(sizes)})", markup=False)


def _times(rows: Sequence[Result], measure: Measure, sizes: Sequence[Size]) -> Table:
    table = _frame("batch,time,\ninput,hidden", *("{},{},\n{},{}".format(*s) for s in sizes))
    spreads = {
        (row.label, row.size): spread([1e3 * seconds for seconds in row.values[measure]])
        for row in rows
    }
    best = {s: min(v.median for (_, size), v in spreads.items() if size == s) for s in sizes}
    for label in dict.fromkeys(row.label for row in rows):
        cells = [Text(label)]
        for size in sizes:
            values = spreads.get((label, size))
            median, around = digits(values) if values else ("-", "")
            bold = values is not None and values.median == best[size]
            cells.append(Text(median, "bold green" if bold else "").append(around, "dim"))
        table.add_row(*cells)
    return table


def _summary(results: Sequence[Result], measures: Sequence[Measure]) -> Table:
    kinds = ("states", "gradients")
    table = _frame("", *(head for measure in measures for head in (measure, "least")), *kinds)
    ratios = [relative(results, measure) for measure in measures]
    for label in dict.fromkeys(row.label for row in results if row.name != OURS):
        cells, own = [], [row.differences for row in results if row.label == label]
        for by_size in (each.get(label, {}) for each in ratios):
            rounds = min(map(len, by_size.values()), default=0)  # fewer at a size that was stopped
            logs = np.log([values[:rounds] for values in by_size.values()])
            least = min(map(spread, by_size.values()), default=None)
            mean = spread(np.exp(logs.mean(0)).tolist()) if rounds else None
            cells += ["".join(digits(values)) if values else "-" for values in (mean, least)]
        for kind in kinds:
            values = [differences[kind] for differences in own if kind in differences]
            cells.append(f"{np.max(values):.0e}" if values else "-")  # np.max keeps a NaN
        table.add_row(label, *cells)
    return table


def _frame(first: str, *others: str) -> Table:
    column = partial(Column, no_wrap=True, header_style="dim")
    right = (column(heading, justify="right") for heading in others)
    return Table(column(first), *right, box=None, padding=(0, 1, 0, 0))
