"""Writes results beside published ones into pages: `python notebooks/figures/published.py`.

    --measure FOLDER  first trains on the files in FOLDER, with five seeds each, and writes
                      published.json. FOLDER has JSB_Chorales.mat and Nottingham.mat of
                      Boulanger-Lewandowski et al. 2012. Half an hour.

Without an option the tables are written again from the files beside this one.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from page_table import write_table
from vowels import run, setting

from gru_jax.app.tasks import music
from gru_jax.app.tasks.japanese_vowels import PUBLISHED

FOLDER = Path(__file__).parent
FIGURES = FOLDER / "published.json"
README = FOLDER.parent.parent / "README.md"
LANGUAGE = FOLDER.parent / "guide" / "language.md"
SEEDS = range(5)
COMMANDS = {
    "JSB Chorales": "music --data JSB_Chorales.mat",
    "Nottingham": "music --data Nottingham.mat --dropout 0 --drop-connect 0 --batch 4 --epochs 40",
}
"""What stands behind `gru-jax train`."""
CHUNG = dict(music.PUBLISHED.values())
"""Test losses in Chung et al. 2014, table 2."""
KEPT = "test_loss", "validation_loss", "best_epoch", "epochs", "seconds", "parameters"


def train(data, command, seed):
    """Trains as a user does; returns the numbers of the run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in data.glob("*.mat"):
            (folder / path.name).symlink_to(path.resolve())
        run(folder, "gru_jax", "train", *command.split(), "--seed", str(seed), "--out", "run")
        result = json.loads((folder / "run" / "result.json").read_text())
    baselines = {name: value for name, value in result.items() if name.startswith("test_loss_")}
    return {name: result[name] for name in KEPT} | baselines


def measure(data):
    """Trains with each command and seed, and writes the figures."""
    figures = setting() | {"runs": {}}
    for name, command in COMMANDS.items():
        rows = figures["runs"][name] = []
        for seed in SEEDS:
            rows.append({"command": command, "seed": seed, **train(data, command, seed)})
            print(name, rows[-1], flush=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def mean_and_deviation(rows):
    """Returns the mean of the test losses and their sample standard deviation, as text."""
    losses = [row["test_loss"] for row in rows]
    return f"{statistics.mean(losses):.2f} ± {statistics.stdev(losses):.2f}"


def losses(figures):
    """Returns the lines of the guide's table."""
    lines = ["| test loss, nats per step | JSB Chorales | Nottingham |", "|---|---|---|"]
    ours = [mean_and_deviation(figures["runs"][name]) for name in CHUNG]
    lines.append(f"| **gru_jax, five seeds** | {' | '.join(ours)} |")
    for model in ("GRU", "LSTM", "tanh"):
        values = (f"{published[model]:.2f}" for published in CHUNG.values())
        lines.append(f"| {model}, Chung et al. 2014 | {' | '.join(values)} |")
    for name in ("same_chord_again", "note_frequencies"):
        values = (f"{figures['runs'][data][0][f'test_loss_{name}']:.2f}" for data in CHUNG)
        lines.append(f"| {name.replace('_', ' ')}, no training | {' | '.join(values)} |")
    return lines


def results(figures):
    """Returns the lines of the README's table."""
    vowels = json.loads((FOLDER / "vowels.json").read_text())["seeds"].values()
    accuracy = [100 * row["test_accuracy"] for row in vowels]
    ours = f"{statistics.mean(accuracy):.1f} ± {statistics.stdev(accuracy):.1f} %"
    best = max(PUBLISHED, key=lambda row: row.value)
    others = f"{100 * best.value:.1f} % ({best.model}, {best.source})"
    lines = ["| test set | gru_jax, five seeds | published | command |", "|---|---|---|---|"]
    lines.append(f"| JapaneseVowels, accuracy | {ours} | {others} | `gru-jax train` |")
    for name, published in CHUNG.items():
        rows = figures["runs"][name]
        others = f"{published['GRU']:.2f} (GRU, Chung et al. 2014)"
        label = f"{name}, nats per step"
        command = f"`gru-jax train {rows[0]['command']}`"
        lines.append(f"| {label} | {mean_and_deviation(rows)} | {others} | {command} |")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure(Path(sys.argv[sys.argv.index("--measure") + 1]))
    figures = json.loads(FIGURES.read_text())
    write_table(LANGUAGE, "| test loss, nats per step |", losses(figures))
    write_table(README, "| test set |", results(figures))
