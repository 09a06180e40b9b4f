"""Writes the numbers of JapaneseVowels into the pages: `python notebooks/figures/vowels.py`.

    --measure         first runs `gru-jax train` with five seeds, once more with XLA's loops, and
                      `gru-jax explain`, in a temporary folder; writes vowels.json. Minutes.
    --cross-validate  first cross-validates five settings, and writes cross_validation.json. A
                      quarter of an hour or more.

Without an option the tables are written again from the two files beside this one.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from page_table import write_table

from gru_jax.app.arguments import read
from gru_jax.app.bench.results import machine, versions
from gru_jax.app.tasks import cross_validate
from gru_jax.app.tasks.japanese_vowels import PUBLISHED, VowelsConfig

FIGURES = Path(__file__).parent / "vowels.json"
CROSS_VALIDATION = FIGURES.with_name("cross_validation.json")
GUIDE = Path(__file__).parent.parent / "guide"
SEEDS = range(5)
CHANGES = "", "--layers 1", "--layers 2", "--noise 0.3", "--label-smoothing 0"
"""What differs from the defaults, as arguments of the cross-validation."""


def run(folder, module, *args, **environment):
    """Runs a module as a command, and returns the lines that it prints."""
    process = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=folder,
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [line.rstrip() for line in process.stdout.splitlines()]


def setting():
    """Returns the versions and the machine that every file of figures begins with."""
    packages = "python", "jax", "jaxlib", "numpy"
    return {
        "versions": {name: versions()[name] for name in packages},
        "machine": machine(),
    }


def between(lines, first, after):
    """Returns the lines from the first to the one before `after`, each known by its beginning."""
    begin, end = (
        next(i for i, line in enumerate(lines) if line.startswith(text)) for text in (first, after)
    )
    return lines[begin:end]


def train(folder, seed, **environment):
    """Trains as a user does; returns the numbers of the run, and what it prints."""
    out = folder / "-".join([str(seed), *environment.values()])
    args = "train", "--seed", str(seed), "--out", str(out)
    lines = run(folder, "gru_jax", *args, **environment)
    result = json.loads((out / "result.json").read_text())
    counts = result["confusion_matrix"]
    numbers = {
        "test_accuracy": result["test_accuracy"],
        "test_utterances": sum(map(sum, counts)),
        "wrong": sum(map(sum, counts)) - sum(row[i] for i, row in enumerate(counts)),
    }
    for name in ("epochs", "best_epoch", "seconds", "recurrence", "parameters"):
        numbers[name] = result[name]
    return numbers, lines


def measure():
    """Trains and explains in a temporary folder, and writes the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {str(seed): train(folder, seed) for seed in SEEDS}
        xla, _ = train(folder, 0, GRU_JAX_BACKEND="xla")
        explained = run(folder, "gru_jax", "explain", "0")
    printed = runs["0"][1]
    seeds = {seed: numbers for seed, (numbers, _) in runs.items()}
    figures = setting() | {
        "seeds": seeds,
        "median": {
            key: statistics.median(numbers[key] for numbers in seeds.values())
            for key in ("test_accuracy", "seconds")
        },
        "xla_seed_0": xla,
        "printed_by_train": between(printed, "Test accuracy", f"  {folder}"),
        "printed_by_explain": between(explained, "The cells", "Figures of"),
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def cross_validated(change):
    """Cross-validates one change of the settings; returns settings, losses and accuracies."""
    module = "gru_jax.app.tasks.cross_validate"
    config = dataclasses.asdict(read(VowelsConfig, change.split(), module))
    row = {"change": change, "config": config}
    for line in run(None, module, *change.split()):
        name, _, loss, _, accuracy = line.split()
        row[name] = {"held_out_loss": float(loss), "held_out_accuracy": float(accuracy)}
    return row


def measure_settings():
    """Cross-validates each change of the settings, and writes the figures."""
    figures = setting() | {"folds": cross_validate.FOLDS, "seeds": cross_validate.SEEDS}
    figures["rows"] = [cross_validated(change) for change in CHANGES]
    CROSS_VALIDATION.write_text(json.dumps(figures, indent=1) + "\n")


def percent(accuracy, digits):
    return f"{100 * accuracy:.{digits}f} %"


def seeds_table(figures):
    """Returns the lines of the table of seeds."""
    seeds, median = figures["seeds"].values(), figures["median"]
    rows = [
        ["seed", *figures["seeds"], "median"],
        ["---"] * (len(seeds) + 2),
        ["accuracy", *(percent(row["test_accuracy"], 2) for row in seeds)],
        ["wrong, of 370", *(str(row["wrong"]) for row in seeds)],
        ["epochs", *(str(row["epochs"]) for row in seeds)],
        ["seconds", *(f"{row['seconds']:.1f}" for row in seeds)],
    ]
    rows[2].append(f"**{percent(median['test_accuracy'], 2)}**")
    rows[3].append(f"{statistics.median(row['wrong'] for row in seeds):.0f}")
    rows[4].append(f"{statistics.median(row['epochs'] for row in seeds):.0f}")
    rows[5].append(f"{median['seconds']:.1f}")
    return [f"| {' | '.join(row)} |" for row in rows]


def published_table(figures):
    """Returns the lines of the table of published results, with the median of ours."""
    ours = "**gru_jax, median of five seeds**", figures["median"]["test_accuracy"], "this page"
    rows = sorted([*PUBLISHED, ours], key=lambda row: -row[1])
    lines = ["| model | test accuracy | source |", "|---|---|---|"]
    return lines + [f"| {model} | {percent(value, 1)} | {who} |" for model, value, who in rows]


def settings_table(figures):
    """Returns the lines of the table of cross-validated settings."""
    lines = ["| change | held-out loss (nats) | held-out accuracy |", "|---|---|---|"]
    for row in figures["rows"]:
        name, best = f"`{row['change']}`" if row["change"] else "(the defaults)", row["best"]
        accuracy = percent(best["held_out_accuracy"], 1)
        lines.append(f"| {name} | {best['held_out_loss']:.3f} | {accuracy} |")
    return lines


def listings(figures):
    """Returns the listings of the commands' output by page: the first line, and all lines."""
    trained, explained = figures["printed_by_train"], figures["printed_by_explain"]
    return {
        "command_line.md": (trained[0], [*trained, "```"]),
        "look_inside.md": (f"```\n{explained[0]}", ["```", *explained, "```"]),
    }


def times(figures):
    """Returns the sentence about the time of a run."""
    seconds = figures["seeds"]["0"]["seconds"], figures["xla_seed_0"]["seconds"]
    return "Seed 0 takes {:.1f} s with the kernel, and {:.1f} s with XLA's loops.".format(*seconds)


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    if "--cross-validate" in sys.argv[1:]:
        measure_settings()
    measured = json.loads(FIGURES.read_text())
    settings = json.loads(CROSS_VALIDATION.read_text())
    page = GUIDE / "japanese_vowels.md"
    write_table(page, "| seed |", seeds_table(measured))
    write_table(page, "| model |", published_table(measured))
    write_table(page, "| change |", settings_table(settings))
    write_table(page, "Seed 0 takes", [times(measured)])
    for name, (start, lines) in listings(measured).items():
        write_table(GUIDE / name, start, lines)
