"""The functions of the commands: `gru-jax train | evaluate | ...`."""

import importlib.util
import logging
import os
import shlex
import sys
from functools import partial
from typing import Any

import jax
import numpy as np
from rich.console import Console

import gru_jax as gj
from gru_jax import Row, files, interop
from gru_jax.app import console as show
from gru_jax.app import explain as inspection
from gru_jax.app import inference, outcome, runs, sampling, settings
from gru_jax.app.bench import device, report, results
from gru_jax.app.bench import measure as benchmark
from gru_jax.app.bench.problem import AnySize, parse_sizes
from gru_jax.app.cli import FAILED, SIGNAL, complain
from gru_jax.app.commands import (
    Bench,
    Command,
    Convert,
    Evaluate,
    Explain,
    Inspect,
    Predict,
    Sample,
    Train,
)
from gru_jax.app.folder import BEST, find
from gru_jax.app.tasks.table import TASKS
from gru_jax.app.tasks.task import tabulate
from gru_jax.app.trackers import Trackers

LEFTOVERS = 12
"""Names of leftovers that are printed."""
NO_FIGURES = "No figures: they need matplotlib, pip install 'gru_jax\\[plot]'."


def run_command(command: Command) -> int:
    """Runs a command; returns its exit code."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it raises, too.
    functions = {Train: train, Evaluate: evaluate, Predict: predict, Explain: explain}
    functions |= {Sample: sample, Convert: convert, Inspect: inspect, Bench: bench}
    try:
        return functions[type(command)](command, Console(highlight=False))
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        return complain(f"out of memory or a failing device: {error}", FAILED)


def train(command: Train, console: Console) -> int:
    """Trains and tests; prints the result and the written files."""
    task, finished = TASKS[command.task], None
    trackers = Trackers(command.track, command.out, partial(console.print, markup=False))
    if command.resume:
        run = runs.reopen(command.out, task, command.config)
    else:
        try:
            run, moved = runs.begin(command.out, task, command.config)
        except ValueError as error:
            raise ValueError(settings.name_options(str(error), command.config)) from error
        if moved:
            message = f"An earlier run was there: it is now {moved}."
            console.print(message, soft_wrap=True, markup=False)
    show.describe(console, run)
    trackers.begin(settings.as_settings(run.problem), int(run.progress.epoch))
    again = f"gru-jax train --resume --out {shlex.quote(str(command.out))}"
    try:
        with show.interruptible(console) as signals, show.epochs(console, run) as report:

            def tell(row: Row) -> None:
                report(row)
                trackers.log(row)

            run, reason = runs.train(run, tell, lambda: bool(signals))
        if reason in ("epochs", "patience"):
            finished = outcome.finish(run)
    except BrokenPipeError:
        raise
    except OSError as error:
        if not command.out.exists():
            return complain(str(error), FAILED)
        return complain(f"{error} Go on with:", FAILED, again)
    finally:
        trackers.end(finished and finished[0])
    epoch, steps = int(run.progress.epoch), np.atleast_1d(run.progress.state.step)
    if reason == "stopped":
        return complain(f"stopped after epoch {epoch}; go on with:", SIGNAL + signals[0], again)
    if finished is None:
        step, seed = int(steps.min()), run.seeds()[int(steps.argmin())].problem.config.seed
        of_seed = f" of seed {seed}" * bool(run.members)
        return complain(
            f"the loss or its gradient{of_seed} was not finite at step {step + 1}; the parameters "
            f"after step {step} are kept in {run.folder / 'checkpoints'}. Try a lower "
            "--learning-rate.",
            FAILED,
        )
    result, written = finished
    if reason == "patience":
        best = max(seed.epoch for seed in run.seeds())
        console.print(f"Stopped early after epoch {epoch}: none since {best} was as good.")
    show.result(console, run.problem.goal, result)
    names = ("result.json", "config.json", "metrics.jsonl", BEST, "checkpoints")
    own = [run.folder / name for name in names]
    if run.members:
        own = [*(path for path in own if path.name != BEST), *(s.folder for s in run.seeds())]
    show.paths(console, own + written)
    for note in result.get("notes", ()):
        console.print(note, soft_wrap=True, markup=False)
    if not importlib.util.find_spec("matplotlib"):
        console.print(NO_FIGURES)
    return 0


def evaluate(command: Evaluate, console: Console) -> int:
    """Prints a run's test metrics and, of classes, its confusions."""
    trained = inference.load_trained(command.run)
    if command.input is None:
        data = trained.task.load(trained.config).test
    else:
        _, data, known = inference.read(trained, command.input)
        if not known and not trained.task.test:
            raise ValueError(
                f"evaluate: --input must hold each {trained.goal.sample}'s {trained.goal.target}, "
                f"got {command.input} without."
            )
    result = inference.evaluate(trained, data)
    if trained.goal.classes:
        show.confusions(console, trained.goal, result["confusion_matrix"])
    show.result(console, trained.goal, result)
    return 0


def predict(command: Predict, console: Console) -> int:
    """Prints the answers for each sequence of a file, or writes them into a file."""
    trained = inference.load_trained(command.run)
    source = inference.read(trained, command.input)
    answers = inference.predict(trained, source.data)
    table = trained.task.tabulate(trained, source, answers)
    if command.output is None and sys.stdout.isatty():
        if trained.task.tabulate is tabulate:
            show.predictions(console, trained.goal, source.names, answers)
        else:
            show.table(console, table)
        return 0
    if command.output:
        files.write_text(command.output, table.as_csv())
        show.paths(console, [command.output])
        return 0
    sys.stdout.write(table.as_csv())
    sys.stdout.flush()
    return 0


def sample(command: Sample, console: Console) -> int:
    """Writes text as it comes, to its end or until Ctrl-C."""
    trained, options = inference.load_trained(command.run), (command.temperature, command.seed)
    blocks = sampling.draw(trained, command.prompt, command.length, *options)
    with show.interruptible(console) as signals:
        show.text(console, command.prompt, sampling.as_text(trained.facts, blocks), signals)
    return SIGNAL + signals[0] if signals else 0


def explain(command: Explain, console: Console) -> int:
    """Prints reports on the cells of a run, and draws them; or writes a page."""
    if command.html:
        return _write_page(command, console)
    if command.run.is_file():
        raise ValueError(
            f"explain: RUN must be the folder of a run, got {command.run}; for a file of weights, "
            "give --html PAGE."
        )
    trained = inference.load_trained(command.run)
    goal, folder, name = trained.goal, command.run / "figures", ""
    if command.input is None:
        data, known = trained.task.load(trained.config).test, True
    else:
        (name, *_), data, known = inference.read(trained, command.input)
        folder /= command.input.stem
    with console.status("looking into the cells"):
        cells, given = inspection.inspect(trained, data, known=known)
    lengths = np.asarray(cells[0].trace.valid).sum(1)
    show.reports(console, list(map(inspection.report, cells)), len(lengths), given)
    if not importlib.util.find_spec("matplotlib"):
        console.print(NO_FIGURES)
        return 0
    from gru_jax.app import figures

    shown = int(lengths.argmax()) if command.input is None else 0
    if command.input is None:
        name = inspection.name_sequence(goal, data, shown)
    length = int(lengths[shown])
    steps = f"{length} step{'s' * (length > 1)}"
    if length > figures.FRAMES:
        steps += f", {figures.FRAMES} of them moving"
    console.print(f"Figures of {name}, {steps}:", markup=False)
    for path in figures.draw_cells(goal, cells, shown, name, folder):
        show.paths(console, [path])
    return 0


def _write_page(command: Explain, console: Console) -> int:
    if not importlib.util.find_spec("matplotlib"):
        raise ValueError(
            "explain: --html needs gru_jax.plot, and so matplotlib: pip install 'gru_jax[plot]'."
        )
    from gru_jax.app import pages

    assert command.html
    files.check_target(command.html)
    page = pages.make(command.run, command.input)
    page.save(command.html)
    size = command.html.stat().st_size / 1000
    console.print(f"Wrote a page of {size:,.0f} kB. Open it in a browser:")
    show.paths(console, [command.html])
    return 0


def convert(command: Convert, console: Console) -> int:
    """Writes the net of a file to another file, and prints it."""
    target = command.target
    if os.path.lexists(target) and not target.is_dir() and not command.overwrite:
        raise ValueError(f"{target} is there already: --overwrite replaces it.")
    inspect(command, console)
    show.paths(console, [target])
    return 0


def inspect(command: Inspect | Convert, console: Console) -> int:
    """Prints the net in a file, of a training run its best one, and the names left behind."""
    path, options = command.source, dict[str, Any](format=command.from_, name=command.name)
    if command.from_ is None and (path / "config.json").is_file():
        path = find(path)
    net, params = interop.read(path, **options)
    if isinstance(command, Convert):
        if command.target.exists() and path.exists() and command.target.samefile(path):
            raise ValueError(f"convert: target must not be the source, got {path}.")
        interop.write(command.target, net, params, format=command.to)
    print(gj.summary(net, params))
    if names := interop.leftovers(path, **options):
        more = f" and {len(names) - LEFTOVERS} more" if len(names) > LEFTOVERS else ""
        console.print(f"stays behind: {', '.join(names[:LEFTOVERS])}{more}", markup=False)
    return 0


def bench(command: Bench, console: Console) -> int:
    """Measures on the chosen device."""
    with device.choose(command.device, command.precision):
        return _bench(command, console)


def _bench(command: Bench, console: Console) -> int:
    """Measures, prints tables, and writes the files; after Ctrl-C, with the results so far."""
    sizes = parse_sizes(command.sizes, command.images)
    measures = tuple(dict.fromkeys(command.measure))
    if not sizes or not measures:
        raise ValueError(f"bench: {'measure' if sizes else 'sizes'} must be one or more, got none.")
    if command.rounds < 1:
        raise ValueError(f"bench: rounds must be 1 or more, got {command.rounds}.")
    if not command.budget > 0:
        raise ValueError(f"bench: budget must be above 0, got {command.budget}.")
    contenders = benchmark.choose(sizes[0], command.peers)
    if command.figure and command.figure.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"bench: figure must end in .png or .svg, got {command.figure}.")
    if command.figure and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("bench: figure needs matplotlib: pip install matplotlib.")
    targets = [path for path in (command.json, command.figure) if path]
    for path in targets:
        files.check_target(path)
    if not sys.stdout.isatty():
        console.width = 100
    report.print_setup(console, command.rounds)
    total = benchmark.count_turns(sizes, contenders, len(measures), command.rounds)
    rows, text = [], ""
    with show.interruptible(console) as signals, show.turns(console, total) as show_turn:

        def tell(size: AnySize, stage: str, label: str) -> None:
            if signals:
                raise benchmark.Stopped
            show_turn(size, stage, label)

        measure = partial(benchmark.measure, budget=command.budget)
        for rows in measure(sizes, contenders, measures, command.rounds, tell):
            text = results.dumps(rows, command.rounds)
            if command.json:  # after each size, so that a later crash does not lose it
                files.write_text(command.json, text)
    if command.figure:
        from gru_jax.app.bench.figure import draw  # imports matplotlib

        save = draw(results.loads(text)).savefig
        files.write(command.figure, partial(save, format=command.figure.suffix[1:], dpi=150))
    report.print_results(console, rows, measures, command.rounds)
    show.paths(console, targets)
    return complain("stopped early.", SIGNAL + signals[0]) if signals else 0
