"""What a run looks like in a terminal: a bar that lives there, plain lines anywhere else."""

import contextlib
import inspect
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from gru_jax.app.bench.measure import Tell
from gru_jax.app.bench.problem import Size
from gru_jax.app.explain import Report
from gru_jax.app.runs import Run
from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.architecture import BUILDERS, Architecture
from gru_jax.interop.safetensors import input_size
from gru_jax.layers.layer import Layer
from gru_jax.training.fit import Row
from gru_jax.training.step import count_parameters
from gru_jax.types import Cell, Params

LINES = 20
"""Plain lines that a whole run prints where there is no terminal."""


def describe(console: Console, run: Run) -> None:
    """Prints what is about to be trained, on what."""
    config, problem = run.config, run.problem
    parts = [f"{len(getattr(problem, name).xs)} {name}" for name in ("train", "validation", "test")]
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    facts = {
        "task": f"JapaneseVowels: which of {len(task.CLASSES)} speakers?",
        "data": f"{', '.join(parts)} utterances of {task.CHANNELS} channels",
        "model": f"bidirectional GRU, {layers} of 2 x {config.hidden}, mean pooling, dense",
        "parameters": f"{count_parameters(run.progress.best_params):,}",
        "recurrence": run.recurrence,
        "training": f"{config.epochs} epochs in batches of {config.batch}, AdamW at "
        f"{config.learning_rate:g}, seed {config.seed}",
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()}, jax {jax.__version__}",
        "folder": str(run.folder),
    }
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(Text(name, "dim"), Text(fact, overflow="fold"))
    console.print(table)


@contextlib.contextmanager
def epochs(console: Console, run: Run) -> Iterator[Callable[[Row], None]]:
    """Shows training as it goes: yields the function that takes each epoch's row."""
    total, first = run.config.epochs, int(run.progress.epoch)
    steps = task.steps_per_epoch(run.config, run.problem)

    def describe_row(row: Row) -> str:
        return (
            f"loss {row['loss']:.3f} accuracy {row['accuracy']:6.1%} "
            f"val {row['validation_accuracy']:6.1%} {steps / row['seconds']:3.0f} steps/s"
        )

    if not console.is_terminal:
        console.print("compiling")
        every = max(1, total // LINES)

        def report(row: Row) -> None:
            if row["epoch"] % every == 0 or row["epoch"] in (first + 1, total):
                console.print(f"epoch {row['epoch']:4}/{total}  {describe_row(row)}")

        yield report
        return
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.description}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        bar = progress.add_task("compiling", total=total, completed=first)
        yield lambda row: progress.update(
            bar, completed=row["epoch"], description=describe_row(row)
        )


@contextlib.contextmanager
def turns(console: Console, total: int) -> Iterator[Tell]:
    """Shows a benchmark as it goes: yields the function that takes size, stage and contender."""
    if not console.is_terminal:
        stages = set()

        def print_stage(size: Size, stage: str, _: str) -> None:
            if (size, stage) not in stages:
                stages.add((size, stage))
                console.print(f"{size}  {stage}")

        yield print_stage
        return
    columns = (BarColumn(20), TaskProgressColumn(), TextColumn("{task.description}"))
    # Drawn between turns only: a thread that draws would take time from what is timed.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        bar = progress.add_task("", total=total)
        yield lambda size, stage, label: progress.update(
            bar, advance=1, description=f"{size}  {stage}  {label}", refresh=True
        )


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a wish to stop, which the function yielded tells of."""
    wishes = []

    def wish(number: int, _: object) -> None:
        wishes.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield lambda: bool(wishes)
    finally:
        signal.signal(signal.SIGINT, before)


def result(console: Console, outcome: dict) -> None:
    """Prints the test accuracy among the published ones, the best first."""
    ours = ("GRU (this run)", outcome["test_accuracy"], f"{outcome['parameters']:,} parameters")
    table = Table(title="Test accuracy on JapaneseVowels", title_justify="left", box=None)
    table.add_column()
    table.add_column("accuracy", justify="right")
    table.add_column()
    for row in sorted([*task.PUBLISHED, ours], key=lambda row: -row[1]):
        style = "bold green" if row is ours else None
        table.add_row(row[0], f"{row[1]:.1%}", row[2], style=style)
    console.print(table)


def reports(console: Console, rows: Sequence[Report], looked_at: int, given: int) -> None:
    """Prints a line for each cell, and what its numbers mean."""
    table = Table(
        title="The cells of the network", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("cell")
    heads = (
        "r < 0.1",
        "r > 0.9",
        "z < 0.1",
        "z > 0.9",
        "memory",
        "longest",
        "gradient",
        "Lyapunov",
    )
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        shares = (row.reset_shut, row.reset_open, row.update_shut, row.update_open)
        table.add_row(
            f"{row.layer} {row.direction}",
            *(f"{share:.1%}" for share in shares),
            f"{row.memory:.1f}",
            f"{row.longest_memory:.1f}",
            "-" if np.isnan(row.gradient) else f"{row.gradient:.2g}",
            f"{row.lyapunov:+.3f}",
        )
    console.print(table)
    some = f"{looked_at} of {given}" if looked_at < given else f"{given}"
    for line in (
        f"Sequences: {some}. Shares are means over their steps and the units.",
        "r, z      reset and update gate: share of steps below 0.1 and above 0.9",
        "memory    steps after which 1/e of a unit's state is left: the middle unit's",
        "longest   and the slowest unit's (of sequences the median)",
        "gradient  of the label's loss by the state: at the first step that the cell",
        "          reads over that at the last; far below 1, the beginning is forgotten",
        "Lyapunov  nats a step: below 0, differences between states die out",
    ):
        console.print(line, style="dim")


def architecture(console: Console, net: Cell | Layer, params: Params) -> None:
    """Prints what a net is, layer by layer, and how large."""
    console.print(_branch(net.architecture) if net.architecture else "a net with own functions")
    leaves = jax.tree.leaves(params)
    dtypes = ", ".join(sorted({str(leaf.dtype) for leaf in leaves}))
    size = sum(leaf.nbytes for leaf in leaves)
    count, inputs = count_parameters(params), input_size(net, params)
    console.print(f"{count:,} parameters, {dtypes}, {size:,} bytes, {inputs} inputs")
    if odd := sum(int((~jnp.isfinite(leaf)).sum()) for leaf in leaves):
        console.print(f"{odd:,} parameters are infinite or not numbers", style="bold")


def _branch(architecture: Architecture, number: str = "") -> Tree:
    """Returns a net as calls of its builders, without what is the default anyway.

    The layers of a stack have their numbers, by which `--name` and the arrays know them.
    """
    parameters = inspect.signature(BUILDERS[architecture.builder]).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    said = [
        repr(value) if name in ("hidden_size", "size", "rate", "stddev") else f"{name}={value!r}"
        for name, value in architecture.options
        if value != ("float32" if name == "dtype" else defaults.get(name))
    ]
    options = f"({', '.join(said)})" * bool(said)
    branch = Tree(Text.assemble((number, "dim"), (architecture.builder, "bold"), options))
    for i, part in enumerate(architecture.parts):
        branch.children.append(_branch(part, f"{i} " if architecture.builder == "stack" else ""))
    return branch


def arrays(console: Console, params: Params) -> None:
    """Prints a line for each array."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("array")
    for heading in ("shape", "dtype", "parameters"):
        table.add_column(heading, justify="right")
    for path, leaf in jax.tree.leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        shape = " x ".join(map(str, leaf.shape)) or "()"
        table.add_row(Text(name), shape, str(leaf.dtype), f"{leaf.size:,}")
    console.print(table)


def paths(console: Console, written: Sequence[Path]) -> None:
    """Prints the paths of what was written, one a line, never broken."""
    for path in written:
        console.print(f"  {path}", soft_wrap=True, markup=False)


def confusions(console: Console, counts: Sequence[Sequence[int]]) -> None:
    """Prints for each speaker how many utterances there were and whose they were taken for."""
    table = Table(box=None)
    for heading in ("speaker", "utterances", "right"):
        table.add_column(heading, justify="right")
    table.add_column("taken for")
    for speaker, row in enumerate(counts):
        wrong = [
            f"{task.CLASSES[other]} ({count}x)"
            for other, count in enumerate(row)
            if count and other != speaker
        ]
        right = f"{row[speaker] / max(sum(row), 1):.1%}"
        table.add_row(task.CLASSES[speaker], str(sum(row)), right, ", ".join(wrong))
    console.print(table)


def predictions(console: Console, names: Sequence[str], probabilities: np.ndarray) -> None:
    """Prints the likeliest speaker of each sequence, and the probabilities of all in per cent."""
    table = Table(box=None)
    table.add_column("sequence")
    for heading in ("speaker", *task.CLASSES):
        table.add_column(heading, justify="right")
    for name, row in zip(names, probabilities, strict=True):
        best = int(np.argmax(row))
        shares = [f"[bold]{p:.0%}[/]" if i == best else f"{p:.0%}" for i, p in enumerate(row)]
        table.add_row(Text(name), f"[bold]{task.CLASSES[best]}[/]", *shares)
    console.print(table)
