"""The commands; no logic. `gru-jax train | evaluate | ...`, or `python -m gru_jax`."""

import csv
import importlib.util
import logging
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from gru_jax import files, interop
from gru_jax.app import console as show
from gru_jax.app import explain as inspection
from gru_jax.app import runs
from gru_jax.app.bench import measure as benchmark
from gru_jax.app.bench import report, results
from gru_jax.app.bench.problem import Size, parse_size
from gru_jax.app.commands import Bench, Convert, Evaluate, Explain, Inspect, Predict, Train, parse
from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.data.files import read_sequences
from gru_jax.interop.formats import FormatName
from gru_jax.interop.safetensors import take_layer
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(args: list[str] | None = None) -> int:
    """Runs a command; returns 0, 1 if training failed, 2 for wrong use, 130 for Ctrl-C."""
    logging.getLogger("absl").setLevel(logging.ERROR)
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
    console = Console(highlight=False)
    if command.resume:
        run = runs.reopen(command.out, command.config)
    else:
        run, moved = runs.begin(command.out, command.config)
        if moved:
            console.print(
                f"An earlier run was there: it is now {moved}.", soft_wrap=True, markup=False
            )
    show.describe(console, run)
    with show.interruptible() as should_stop, show.epochs(console, run) as report:
        run, ended = runs.train(run, report, should_stop)
    epoch, step = int(run.progress.epoch), int(run.progress.state.step)
    if ended == "stopped":
        again = f"gru-jax train --resume --out {shlex.quote(str(command.out))}"
        return _complain(f"stopped after epoch {epoch}; go on with: {again}", INTERRUPTED)
    if ended == "not finite":
        return _complain(
            f"the loss or its gradient was not finite at step {step + 1}; the parameters after "
            f"step {step} are kept in {run.folder / 'checkpoints'}. Try a lower --learning-rate.",
            FAILED,
        )
    if ended == "patience":
        best = int(run.progress.best_epoch)
        console.print(f"Stopped early after epoch {epoch}: none since {best} was as good.")
    result, figures = runs.finish(run)
    show.result(console, result)
    names = ("result.json", "config.json", "metrics.jsonl", "checkpoints")
    show.paths(console, [run.folder / name for name in names] + figures)
    if not figures:
        console.print("No figures: they need matplotlib, pip install 'gru_jax\\[plot]'.")
    return 0


def evaluate(command: Evaluate) -> int:
    """Prints a run's test accuracy and its confusions."""
    console = Console(highlight=False)
    result = runs.evaluate(runs.load_trained(command.run))
    show.confusions(console, result["confusion_matrix"])
    show.result(console, result)
    return 0


def predict(command: Predict) -> int:
    """Prints a label and probabilities for each sequence of a file."""
    trained = runs.load_trained(command.run)
    sequences = read_sequences(command.input, task.CHANNELS)
    probabilities = runs.predict(trained, list(sequences.values()))
    if sys.stdout.isatty():
        show.predictions(Console(highlight=False), list(sequences), probabilities)
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["sequence", "label", *(f"p_{name}" for name in task.CLASSES)])
    for name, row in zip(sequences, probabilities, strict=True):
        writer.writerow([name, task.CLASSES[int(np.argmax(row))], *(f"{p:.6f}" for p in row)])
    sys.stdout.flush()
    return 0


def explain(command: Explain) -> int:
    """Prints reports on the cells of a run, and draws them."""
    console = Console(highlight=False)
    trained = runs.load_trained(command.run)
    if command.input is None:
        _, test = task.load_japanese_vowels()
        xs, labels, shown = test.xs, test.targets, int(np.argmax([len(x) for x in test.xs]))
        name = f"test utterance {shown + 1}, by speaker {task.CLASSES[labels[shown]]}"
        folder = command.run / "figures"
    else:
        sequences = read_sequences(command.input, task.CHANNELS)
        xs, labels, shown, name = list(sequences.values()), None, 0, next(iter(sequences))
        folder = command.run / "figures" / command.input.stem
    with console.status(f"looking into {len(xs)} sequences"):
        found = inspection.inspect(trained, xs, labels)
    show.reports(console, list(map(inspection.report, found)), len(found[0].exponents), len(xs))
    if not importlib.util.find_spec("matplotlib"):
        console.print("No figures: they need matplotlib, pip install 'gru_jax\\[plot]'.")
        return 0
    steps = f"{len(xs[shown])} step{'s' * (len(xs[shown]) > 1)}"
    if len(xs[shown]) > inspection.FRAMES:
        steps += f", {inspection.FRAMES} of them moving"
    console.print(f"Figures of {name}, {steps}:", markup=False)
    for path in inspection.draw(found, shown, name, folder):
        show.paths(console, [path])
    return 0


def convert(command: Convert) -> int:
    """Reads a file, writes another, and says what was in it."""
    target_is_there = os.path.lexists(command.target) and not command.target.is_dir()
    if target_is_there and not command.overwrite:
        raise ValueError(f"{command.target} is there already: --overwrite replaces it.")
    net, params = _read(command.source, command.from_, command.name)
    interop.write(command.target, net, params, format=command.to)
    console = Console(highlight=False)
    show.architecture(console, net, params)
    show.paths(console, [command.target])
    return 0


def inspect(command: Inspect) -> int:
    """Prints what a file holds."""
    net, params = _read(command.file, command.from_, command.name)
    console = Console(highlight=False)
    show.architecture(console, net, params)
    show.arrays(console, params)
    return 0


def _read(path: Path, format: FormatName | None, name: str | None) -> tuple[Cell | Layer, Params]:
    if format is None and (path / "config.json").is_file():
        trained = runs.load_trained(path)
        net = task.network(trained.config)
        return (net, trained.params) if name is None else take_layer(net, trained.params, name)
    return interop.read(path, format=format, name=name)


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


def _complain(message: str, code: int) -> int:
    print(f"gru-jax: {' '.join(message.split())}", file=sys.stderr)
    return code
