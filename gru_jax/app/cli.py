"""The commands; no logic. `gru-jax train | evaluate | ...`, or `python -m gru_jax`."""

import csv
import importlib.util
import io
import logging
import os
import shlex
import shutil
import sys
import textwrap
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

import gru_jax as gj
from gru_jax import files, interop
from gru_jax.app import console as show
from gru_jax.app import explain as inspection
from gru_jax.app import figures, runs
from gru_jax.app.bench import measure as benchmark
from gru_jax.app.bench import report, results
from gru_jax.app.bench.problem import Size, parse_size
from gru_jax.app.commands import Bench, Convert, Evaluate, Explain, Inspect, Predict, Train, parse
from gru_jax.app.folder import find
from gru_jax.app.tasks import TASKS
from gru_jax.interop import FormatName

FAILED, USAGE, INTERRUPTED = 1, 2, 130
LEFTOVERS, LONGEST = 12, 600
"""Names of leftovers that are printed, and characters of a message."""


def main(args: list[str] | None = None) -> int:
    """Runs a command; returns 0, 1 if training failed, 2 for wrong use, 130 for Ctrl-C."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Some terminals know no lines.
            stream.reconfigure(errors="replace")
    does = {Train: train, Evaluate: evaluate, Predict: predict, Explain: explain}
    does |= {Convert: convert, Inspect: inspect, Bench: bench}
    try:
        command = parse(sys.argv[1:] if args is None else args)
        return does[type(command)](command)
    except BrokenPipeError:  # `gru-jax predict ... | head` has read all it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return _complain(str(error), USAGE)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        return _complain(f"out of memory or a failing device: {error}", FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted.", INTERRUPTED)


def train(command: Train) -> int:
    """Trains, tests, and says what was written."""
    console, task = Console(highlight=False), TASKS[command.task]
    if command.resume:
        run = runs.reopen(command.out, task, command.config)
    else:
        run, moved = runs.begin(command.out, task, command.config)
        if moved:
            console.print(
                f"An earlier run was there: it is now {moved}.", soft_wrap=True, markup=False
            )
    show.describe(console, run)
    with show.interruptible() as should_stop, show.epochs(console, run) as report:
        run, reason = runs.train(run, report, should_stop)
    epoch, step = int(run.progress.epoch), int(run.progress.state.step)
    if reason == "stopped":
        again = f"gru-jax train --resume --out {shlex.quote(str(command.out))}"
        return _complain(f"stopped after epoch {epoch}; go on with:", INTERRUPTED, again)
    if reason == "not finite":
        return _complain(
            f"the loss or its gradient was not finite at step {step + 1}; the parameters after "
            f"step {step} are kept in {run.folder / 'checkpoints'}. Try a lower --learning-rate.",
            FAILED,
        )
    if reason == "patience":
        best = int(run.progress.best_epoch)
        console.print(f"Stopped early after epoch {epoch}: none since {best} was as good.")
    result, drawn = runs.finish(run)
    show.result(console, task, result)
    names = ("result.json", "config.json", "metrics.jsonl", "best.safetensors", "checkpoints")
    show.paths(console, [run.folder / name for name in names] + drawn)
    if not drawn:
        console.print("No figures: they need matplotlib, pip install 'gru_jax\\[plot]'.")
    return 0


def evaluate(command: Evaluate) -> int:
    """Prints a run's test metrics and, of classes, its confusions."""
    console, trained = Console(highlight=False), runs.load_trained(command.run)
    result = runs.evaluate(trained, trained.task.load(trained.config).test)
    if trained.task.classes:
        show.confusions(console, trained.task, result["confusion_matrix"])
    show.result(console, trained.task, result)
    return 0


def predict(command: Predict) -> int:
    """Prints the answers for each sequence of a file."""
    trained = runs.load_trained(command.run)
    task, sequences = trained.task, gj.read_sequences(command.input, trained.task.input_size)
    answers = runs.predict(trained, list(sequences.values()))
    if sys.stdout.isatty():
        show.predictions(Console(highlight=False), task, list(sequences), answers)
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    rows = answers.reshape(len(answers), -1)
    if task.classes:
        writer.writerow(["sequence", "label", *(f"p_{name}" for name in task.classes)])
    else:
        writer.writerow(["sequence", *(f"value_{i}" for i in range(rows.shape[1]))])
    for name, row in zip(sequences, rows, strict=True):
        label = [task.classes[int(np.argmax(row))]] if task.classes else []
        digits = ".6f" if task.classes else ".6g"
        writer.writerow([name, *label, *(f"{value:{digits}}" for value in row)])
    sys.stdout.flush()
    return 0


def explain(command: Explain) -> int:
    """Prints reports on the cells of a run, and draws them."""
    console = Console(highlight=False)
    trained = runs.load_trained(command.run)
    task, folder = trained.task, command.run / "figures"
    if command.input is None:
        test = task.load(trained.config).test
        xs, targets, shown = test.xs, test.targets, int(np.argmax([len(x) for x in test.xs]))
        name = f"test {task.sample} {shown + 1}"
        if task.classes:
            name += f", {task.target} {task.classes[targets[shown]]}"
    else:
        sequences = gj.read_sequences(command.input, task.input_size)
        xs, targets, shown, name = list(sequences.values()), None, 0, next(iter(sequences))
        folder /= command.input.stem
    with console.status(f"looking into {len(xs)} sequences"):
        found = inspection.inspect(trained, xs, targets)
    show.reports(console, list(map(inspection.report, found)), len(found[0].exponents), len(xs))
    if not importlib.util.find_spec("matplotlib"):
        console.print("No figures: they need matplotlib, pip install 'gru_jax\\[plot]'.")
        return 0
    steps = f"{len(xs[shown])} step{'s' * (len(xs[shown]) > 1)}"
    if len(xs[shown]) > figures.FRAMES:
        steps += f", {figures.FRAMES} of them moving"
    console.print(f"Figures of {name}, {steps}:", markup=False)
    for path in figures.draw_cells(found, shown, name, folder):
        show.paths(console, [path])
    return 0


def convert(command: Convert) -> int:
    """Reads a file, writes another, and says what was in it."""
    target_is_there = os.path.lexists(command.target) and not command.target.is_dir()
    if target_is_there and not command.overwrite:
        raise ValueError(f"{command.target} is there already: --overwrite replaces it.")
    path = _find(command.source, command.from_)
    net, params = interop.read(path, format=command.from_, name=command.name)
    interop.write(command.target, net, params, format=command.to)
    print(gj.summary(net, params))
    _tell_leftovers(path, command.from_, command.name)
    show.paths(Console(highlight=False), [command.target])
    return 0


def inspect(command: Inspect) -> int:
    """Prints what a file holds."""
    path = _find(command.file, command.from_)
    print(gj.summary(*interop.read(path, format=command.from_, name=command.name)))
    _tell_leftovers(path, command.from_, command.name)
    return 0


def _find(path: Path, format: FormatName | None) -> Path:
    """Returns the file with the net: of a training run, its best parameters."""
    return find(path) if format is None and (path / "config.json").is_file() else path


def _tell_leftovers(path: Path, format: FormatName | None, name: str | None) -> None:
    """Says what else a file holds."""
    leftovers = getattr(interop, "leftovers", lambda *_, **__: ())
    if names := leftovers(path, format=format, name=name):
        more = f" and {len(names) - LEFTOVERS} more" if len(names) > LEFTOVERS else ""
        text = f"stays behind: {', '.join(names[:LEFTOVERS])}{more}"
        Console(highlight=False).print(text, markup=False)


def bench(command: Bench) -> int:
    """Measures, prints tables, and writes the files; after Ctrl-C, with the results so far."""
    sizes = list(dict.fromkeys(map(parse_size, command.sizes)))
    measures = tuple(dict.fromkeys(command.measure))
    if not sizes or not measures:
        raise ValueError(f"bench: {'measure' if sizes else 'sizes'} must be one or more, got none.")
    if command.rounds < 1:
        raise ValueError(f"bench: rounds must be 1 or more, got {command.rounds}.")
    if command.figure and command.figure.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"bench: figure must end in .png or .svg, got {command.figure}.")
    if command.figure and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("bench: figure needs matplotlib: pip install matplotlib.")
    targets = [path for path in (command.json, command.figure) if path]
    for path in targets:
        files.check_target(path)
    # In a file there is no width to keep to.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    report.print_setup(console, command.rounds)
    contenders = benchmark.choose(command.peers)
    total = benchmark.count_turns(len(sizes), contenders, len(measures), command.rounds)
    rows, text = [], ""
    with show.interruptible() as should_stop, show.turns(console, total) as show_turn:

        def tell(size: Size, stage: str, label: str) -> None:
            if should_stop():
                raise benchmark.Stopped
            show_turn(size, stage, label)

        for rows in benchmark.measure(sizes, contenders, measures, command.rounds, tell):
            text = results.dumps(rows, command.rounds)
            if command.json:  # after each size, so that a later crash does not lose it
                files.write_text(command.json, text)
    if command.figure:
        from gru_jax.app.bench.figure import draw  # imports matplotlib

        save = draw(results.loads(text)).savefig
        files.write(command.figure, partial(save, format=command.figure.suffix[1:], dpi=150))
    report.print_results(console, rows, measures)
    show.paths(console, targets)
    return _complain("stopped early.", INTERRUPTED) if should_stop() else 0


def _complain(message: str, code: int, command: str = "") -> int:
    """Prints one line and, below it, a command to copy; a terminal's width breaks no word."""
    text = textwrap.shorten(f"gru-jax: {message}", LONGEST, placeholder=" ...")
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        text = textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)
    print(text, *[f"  {command}"] * bool(command), sep="\n", file=sys.stderr)
    return code
