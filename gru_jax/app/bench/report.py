"""The tables: times, ratios and agreement, with no more digits than the spread supports."""

import math
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gru_jax.app import console as show
from gru_jax.app.bench import device
from gru_jax.app.bench.contenders import OURS
from gru_jax.app.bench.measure import Result
from gru_jax.app.bench.names import Measure
from gru_jax.app.bench.problem import AnySize, numbers, words
from gru_jax.app.bench.results import average, machine, relative, versions
from gru_jax.app.bench.timing import Spread, spread

TITLES: dict[Measure, str] = {
    "forward": "Forward pass",
    "train": "Training step: loss and gradients of all weights and the inputs",
}
LABEL, CELL, FEWER = len("linen_scan (after)"), len("0.01000 ±0.00005"), len(" [10]")
PER_STEP = len(" (0.01000)")
"""Largest widths of a table's columns, and of the number of rounds and of a step in a cell."""


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


def in_pairs(words: Iterable[object]) -> str:
    """Returns the words with commas, two a line."""
    texts = list(map(str, words))
    return ",\n".join(",".join(texts[i : i + 2]) for i in range(0, len(texts), 2))


def print_setup(console: Console, rounds: int) -> None:
    """Prints the device, the versions and the number of rounds."""
    facts = machine()
    texts = {
        "device": f"{facts['device']}, {facts['cpus']} CPUs, {facts['platform']}, "
        f"{facts['processor']}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "precision": device.precision(),
        "times": f"medians over {rounds} rounds ± half the interquartile range",
    }
    show.print_facts(console, texts)


def print_results(
    console: Console, results: Sequence[Result], measures: Sequence[Measure], rounds: int
) -> None:
    """Prints the times, a summary of each contender, and why some have no times."""
    steps = device.platform() == "gpu"
    for measure in measures:
        rows = [row for row in results if measure in row.values]
        fewer = any(len(row.values[measure]) < rounds for row in rows)
        width = CELL + steps * PER_STEP + fewer * FEWER + 1
        columns = max(1, (console.width - LABEL) // width)
        sizes = list(dict.fromkeys(row.size for row in rows))
        for first in range(0, len(sizes), columns):
            note = " (µs a step)" * steps + "; \\[n]: only n rounds" * fewer
            console.print(f"\n[bold]{TITLES[measure]}[/] (ms{note})")
            console.print(_times(rows, measure, sizes[first : first + columns], rounds))
    console.print(
        "\n[bold]Beside gru_jax of the same form[/]: times as long (geometric mean over sizes,\n"
        "least), and largest differences of states and gradients"
    )
    console.print(_summary(results, measures))
    for name in dict.fromkeys(row.name for row in results if row.reset is None):
        console.print(f"{name}: a different function; only its time is compared")
    reasons: dict[str, list[str]] = {}
    for row in results:
        if row.reason:
            reasons.setdefault(f"{row.label}: {row.reason}", []).append(str(row.size))
    for reason, sizes in reasons.items():
        console.print(f"{reason} ({' '.join(sizes)})", markup=False)


def _times(
    rows: Sequence[Result], measure: Measure, sizes: Sequence[AnySize], rounds: int
) -> Table:
    steps = device.platform() == "gpu"
    fields = sizes[0]._fields[: len(numbers(sizes[0]))]
    heads = (",\n".join([in_pairs(numbers(size)), *words(size)]) for size in sizes)
    table = _frame(in_pairs(fields), *heads)
    times = {(row.label, row.size): row.values[measure] for row in rows}
    spreads = {key: spread([1e3 * seconds for seconds in each]) for key, each in times.items()}
    best = {s: min(v.median for (_, size), v in spreads.items() if size == s) for s in sizes}
    for label in dict.fromkeys(row.label for row in rows):
        cells = [Text(label)]
        for size in sizes:
            values = spreads.get((label, size))
            median, around = digits(values) if values else ("-", "")
            bold = values is not None and values.median == best[size]
            count = len(times.get((label, size), ()))
            mark = f" [{count}]" if values and count < rounds else ""
            if values and steps:
                around += f" ({digits(Spread(*(1e3 * v / size.time for v in values)))[0]})"
            cells.append(Text(median, "bold green" if bold else "").append(around + mark, "dim"))
        table.add_row(*cells)
    return table


def _summary(results: Sequence[Result], measures: Sequence[Measure]) -> Table:
    kinds = ("states", "gradients")
    table = _frame("", *(head for measure in measures for head in (measure, "least")), *kinds)
    ratios = [relative(results, measure) for measure in measures]
    for label in dict.fromkeys(row.label for row in results if row.name != OURS):
        cells, own = [], [row.differences for row in results if row.label == label]
        for by_size in (each.get(label, {}) for each in ratios):
            least = min(map(spread, by_size.values()), default=None)
            mean = spread(average(by_size)) if by_size else None
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
