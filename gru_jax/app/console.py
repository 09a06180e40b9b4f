"""The output of the commands: a progress bar in a terminal, plain lines anywhere else."""

import contextlib
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

import gru_jax as gj
from gru_jax import Row
from gru_jax.app.bench.measure import Tell
from gru_jax.app.bench.problem import AnySize
from gru_jax.app.explain import Report
from gru_jax.app.runs import Run
from gru_jax.app.tasks.task import Goal, Published
from gru_jax.app.tasks.task import Table as Answers

LINES = 20
"""Plain lines that a whole run prints where there is no terminal."""
WIDE = 76
"""Columns that all numbers of an epoch, or of a cell, need."""
OTHERS = 3
"""Classes of a sequence that are printed beside the likeliest one."""

SHOWN, ROWS = 16, 48
"""Values of a sequence, and rows of a table, that are printed."""
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""All but tabs, new lines and carriage returns."""

_right_column = partial(Column, justify="right")


def print_facts(console: Console, texts: Mapping[str, str]) -> None:
    """Prints facts with their names, one below the other."""
    table = Table.grid(padding=(0, 2))
    for name, text in texts.items():
        table.add_row(Text(name, "dim"), Text(text, overflow="fold"))
    console.print(table)


def describe(console: Console, run: Run) -> None:
    """Prints the task, the settings and the device of a training."""
    (task, config, facts, *_), (first, *others) = run.problem, run.seeds()
    seeds = f"seed {config.seed}"
    if others:
        seeds = f"seeds {config.seed} to {config.seed + len(others)} at once"
    more = {
        "parameters": f"{gj.count_parameters(first.params):,}",
        **({"weights": run.origin} if run.origin else {}),
        "recurrence": run.problem.recurrence,
        "training": f"{config.epochs} epochs in batches of {config.batch}, AdamW at "
        f"{config.learning_rate:g}, {seeds}",
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()}, jax {jax.__version__}",
        "folder": str(run.folder),
    }
    print_facts(console, task.describe(config, facts, run.problem.parts) | more)


@contextlib.contextmanager
def epochs(console: Console, run: Run) -> Iterator[Callable[[Row], None]]:
    """Shows training as it goes: yields the function that takes each epoch's row."""
    goal, total, first = run.problem.goal, run.problem.config.epochs, int(run.progress.epoch)
    steps, wide = run.problem.steps, console.width >= WIDE

    def describe_row(row: Row) -> str:
        names = dict.fromkeys(("loss", goal.monitor) if wide else ("loss",))
        values = " ".join(f"{name} {_number(goal, name, row[name])}" for name in names)
        validation = _spread(goal, goal.monitor, row, f"validation_{goal.monitor}")
        rate = steps / row["seconds"]
        digits = 1 if rate < 10 else 0
        speed = f" {rate:3.{digits}f} steps/s" * wide
        return f"{values} val {validation}{speed}"

    if not console.is_terminal:
        console.print("compiling")
        every = max(1, total // LINES)

        def report(row: Row) -> None:
            if row["epoch"] % every == 0 or row["epoch"] in (first + 1, total):
                console.print(f"epoch {row['epoch']:4}/{total}  {describe_row(row)}")

        yield report
        return
    columns = "epoch", MofNCompleteColumn(), BarColumn(None), "{task.description}"
    remaining = TimeRemainingColumn(compact=True), "left"
    with Progress(*columns, *remaining, console=console, expand=True) as progress:
        bar = progress.add_task("compiling", total=total, completed=first)
        yield lambda row: progress.update(
            bar, completed=row["epoch"], description=describe_row(row)
        )


@contextlib.contextmanager
def turns(console: Console, total: int) -> Iterator[Tell]:
    """Shows a benchmark as it goes: yields the function that takes size, stage and contender."""
    if not console.is_terminal:
        stages = set()

        def print_stage(size: AnySize, stage: str, _: str) -> None:
            if (size, stage) not in stages:
                stages.add((size, stage))
                console.print(f"{size}  {stage}")

        yield print_stage
        return
    columns = BarColumn(20), "[progress.percentage]{task.percentage:>3.0f}%", "{task.description}"
    # Drawn between turns only: a thread that draws would take time from the timed calls.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        bar = progress.add_task("", total=total)
        yield lambda size, stage, label: progress.update(
            bar, advance=1, description=f"{size}  {stage}  {label}", refresh=True
        )


@contextlib.contextmanager
def interruptible(console: Console) -> Iterator[list[int]]:
    """Yields the list of signals received so far: Ctrl-C and SIGTERM.

    A second signal ends the process at once, also while a compiled program runs.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        received.append(number)
        if console.is_terminal:  # Nothing else shows the cursor again after a second signal.
            os.write(console.file.fileno(), b"\x1b[?25h")  # Rich's locks may be held.
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, receive) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def result(console: Console, goal: Goal, outcome: Mapping[str, Any]) -> None:
    """Prints the test metrics, the monitored one among the published ones, the best first."""
    value, size = outcome[f"test_{goal.monitor}"], f"{outcome['parameters']:,} parameters"
    seeds = len(outcome.get("members", ()))
    start, ours = f"test_{goal.monitor}_", f"GRU ({seeds} seeds)" if seeds else "GRU (this run)"
    endings = {ours: ""}
    baselines = []
    for name, number in outcome.items():
        if name.startswith(start) and not name.endswith("_sd"):
            label = name.removeprefix(start).replace("_", " ")
            endings[label] = name.removeprefix(start[:-1])
            baselines.append(Published(label, number, "no training"))
    rows = [*goal.published, *baselines, Published(ours, value, size)]
    heading = f"Test {goal.monitor} on {goal.title}"
    if goal.mode == "min":
        unit = goal.units.get(goal.monitor)
        heading += f", {unit}; lower is better" if unit else "; lower is better"
    console.print(heading, style="italic", markup=False)
    columns = map(_right_column, (goal.monitor, *goal.metrics))
    table = Table("", *columns, *[""] * (not goal.metrics), box=None)
    for row in sorted(rows, key=lambda row: row.value, reverse=goal.mode == "max"):
        style = "bold green" if row is rows[-1] else None
        names = (f"test_{name}{endings.get(row.model)}" for name in goal.metrics)
        more = [
            _spread(goal, name, outcome, key) if key in outcome else "-"
            for name, key in zip(goal.metrics, names, strict=True)
        ]
        value = _number(goal, goal.monitor, row.value)
        if row is rows[-1]:
            value = _spread(goal, goal.monitor, outcome, f"test_{goal.monitor}")
        source = [row.source] * (not goal.metrics)  # No room beside more numbers.
        table.add_row(row.model, value, *more, *source, style=style)
    console.print(table)
    if goal.also:
        values = [(name, outcome[f"test_{name}"]) for name in goal.also]
        texts = [
            f"{name.replace('_', ' ')} "
            + (f"{value:.1%}" if goal.units.get(name) == "fraction" else f"{value:.4g}")
            for name, value in values
        ]
        console.print(f"Also: {', '.join(texts)}", markup=False)


def _spread(goal: Goal, name: str, row: Mapping[str, Any], key: str) -> str:
    """Returns a number, and behind it the standard deviation over the seeds, if there are some."""
    value, deviation = _number(goal, name, row[key]), row.get(f"{key}_sd")
    return value if deviation is None else f"{value} ± {_number(goal, name, deviation).strip()}"


def _number(goal: Goal, name: str, value: float) -> str:
    return f"{value:6.1%}" if goal.units.get(name) == "fraction" else f"{value:.3f}"


def reports(console: Console, rows: Sequence[Report], looked_at: int, given: int) -> None:
    """Prints a line for each cell, and the meaning of its numbers."""
    heads = "r < 0.1|r > 0.9|z < 0.1|z > 0.9|memory|longest|gradient|Lyapunov".split("|")
    formats = ["{:.1%}"] * 4 + ["{:.1f}"] * 2 + ["{:.2g}", "{:+.3f}"]
    parts = [slice(8)] if console.width >= WIDE else [slice(4), slice(4, 8)]
    console.print("The cells of the net", style="italic")
    for part in parts:
        columns = [_right_column(head, no_wrap=True) for head in heads[part]]
        table = Table("cell", *columns, box=None, padding=(0, 1, 0, 0))
        for row in rows:
            values = zip(formats[part], row[2:][part], strict=True)
            texts = ["-" if np.isnan(value) else form.format(value) for form, value in values]
            table.add_row(f"{row.layer} {row.direction}", *texts)
        console.print(table)
    legend = Table.grid(padding=(0, 2))
    for term, text in {
        "sequences": f"{looked_at} of {given}" if looked_at < given else f"{given}",
        "r, z": "reset and update gate: share of steps below 0.1 and above 0.9, mean of the units",
        "memory": "steps after which 1/e of a unit's state is left: the middle unit's",
        "longest": "and the slowest unit's; medians of sequences",
        "gradient": "of the loss by the state: at the first step that the cell reads over that at "
        "the last; far below 1, the beginning is forgotten",
        "Lyapunov": "nats a step; below 0, differences between states die out",
    }.items():
        legend.add_row(term, text, style="dim")
    console.print(legend)


def paths(console: Console, written: Sequence[Path]) -> None:
    """Prints the paths of written files, one a line, never broken."""
    for path in written:
        console.print(f"  {path}", soft_wrap=True, markup=False)


def confusions(console: Console, goal: Goal, counts: Sequence[Sequence[int]]) -> None:
    """Prints for each class the number of cases, the share of right ones, and the mistakes."""
    headings = goal.target, f"{goal.sample}s", "right"
    table = Table(*map(_right_column, headings), "taken for", box=None)
    for i, row in enumerate(counts):
        cases = zip(goal.classes, row, strict=True)
        wrong = [f"{name} ({n}x)" for name, n in cases if n and name != goal.classes[i]]
        right = f"{row[i] / max(sum(row), 1):.1%}"
        table.add_row(Text(goal.classes[i]), str(sum(row)), right, ", ".join(wrong))
    console.print(table)


def table(console: Console, answers: Answers) -> None:
    """Prints the first rows of a table, numbers to the right."""
    first, *others = answers.columns
    shown = Table(Column(first, overflow="fold"), *map(_right_column, others), box=None)
    for row in answers.rows[:ROWS]:
        shown.add_row(*map(Text, map(str, row)))
    console.print(shown)
    if (more := len(answers.rows) - ROWS) > 0:
        console.print(f"and {more} more rows; a redirect, or --output, has all")


def text(console: Console, prompt: str, blocks: Iterator[str], signals: list[int]) -> None:
    """Prints text as it comes, without the control characters that a terminal would obey."""
    terminal = sys.stdout.isatty()
    with console.status("compiling") if terminal else contextlib.nullcontext():
        first = next(blocks)
    for block in itertools.chain([prompt, first], blocks):
        sys.stdout.write(CONTROLS.sub("\ufffd", block) if terminal else block)
        sys.stdout.flush()
        if signals:
            break
    sys.stdout.write("\n" * terminal)


def predictions(console: Console, goal: Goal, names: Sequence[str], answers: np.ndarray) -> None:
    """Prints the likeliest classes of each sequence with their probabilities, or its values."""
    column = Column("sequence", overflow="fold")
    if goal.classes:
        table = Table(
            column, _right_column(goal.target), _right_column("probability"), "or", box=None
        )
    else:
        table = Table(column, _right_column("value"), box=None)
    for name, row in zip(names, answers, strict=True):
        if goal.classes:
            best, *others = np.argsort(-row, kind="stable")[: OTHERS + 1]
            also = [f"{goal.classes[i]} ({row[i]:.0%})" for i in others if row[i] >= 0.005]
            texts = Text(goal.classes[best]), f"{row[best]:.0%}", ", ".join(also)
        else:
            numbers = " ".join(f"{value:.4g}" for value in np.ravel(row)[:SHOWN])
            more = f" ... {row.size} values; a redirect prints all" * (row.size > SHOWN)
            texts = (numbers + more,)
        table.add_row(Text(name), *texts)
    console.print(table)
