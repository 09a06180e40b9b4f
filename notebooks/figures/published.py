"""Writes results beside published ones into pages: `python notebooks/figures/published.py`.

    --measure FOLDER [NAME ...]  first trains on the files in FOLDER, with each seed, and writes
                                 published.json; only on those named, if any are. Three hours for
                                 all. FOLDER has JSB_Chorales.mat and Nottingham.mat of
                                 Boulanger-Lewandowski et al. 2012, ETTh1.csv of Zhou et al. 2021,
                                 and shakespeare.txt, the tiny Shakespeare of Karpathy 2015.

Without an option the tables are written again from the files beside this one.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from page_table import write_table
from vowels import run, setting

from gru_jax.app.tasks import music
from gru_jax.app.tasks.japanese_vowels import PUBLISHED

FOLDER = Path(__file__).parent
FIGURES = FOLDER / "published.json"
README = FOLDER.parent.parent / "README.md"
GUIDE = FOLDER.parent / "guide"
LANGUAGE, FORECAST = GUIDE / "language.md", GUIDE / "forecast.md"
ETTH1 = "--time date --target HUFL HULL MUFL MULL LUFL LULL OT --lookback 96 --horizon 96"
ETTH1 += " --windows 2785 --validation 2785 --step 1 --model segrnn --scale series --level"
ETTH1 += " --dropout 0.5 --batch 1792 --epoch-windows 60000 --learning-rate 1e-3 --epochs 15"
TEXT = "--validation 0.03 --patience 10"
MONTHS = 14401
"""Lines of ETTh1.csv that the benchmark uses: the header and 20 months of 30 days."""
CHUNG = dict(music.PUBLISHED.values())
"""Test losses in Chung et al. 2014, table 2."""


class Result(NamedTuple):
    """A training that somebody has published a result of."""

    label: str
    command: str
    """Behind `gru-jax train`."""
    published: str
    metrics: Sequence[str] = ("loss",)
    seeds: Sequence[int] = range(5)
    digits: int = 2


RESULTS = {
    "JSB Chorales": Result(
        "JSB Chorales, nats per step",
        "music --data JSB_Chorales.mat",
        f"{CHUNG['JSB Chorales']['GRU']:.2f} (GRU, Chung et al. 2014)",
    ),
    "Nottingham": Result(
        "Nottingham, nats per step",
        "music --data Nottingham.mat --dropout 0.1 --drop-connect 0 --weight-decay 0.1"
        " --learning-rate 1e-2 --batch 4 --epochs 120",
        f"{CHUNG['Nottingham']['GRU']:.2f} (GRU, Chung et al. 2014)",
    ),
    "ETTh1": Result(
        "ETTh1, 96 hours, MSE and MAE",
        f"forecast --data months.csv {ETTH1}",
        "0.368, 0.395 (SegRNN, Lin et al. 2023)",
        ("scaled_mse", "scaled_mae"),
        range(3),
        3,
    ),
    "ten minutes": Result(
        "tiny Shakespeare, bits per character",
        f"language --data shakespeare.txt --epochs 36 --dropout 0.4 --drop-connect 0.4 {TEXT}",
        "2.71 (GPT of 0.8 M, nanoGPT)",
        ("bpc",),
        (0,),
    ),
    "an hour": Result(
        "the same, within an hour",
        "language --data shakespeare.txt --model large --epochs 36 --dropout 0.5 --drop-connect 0.4"
        f" --learning-rate 1.5e-3 {TEXT}",
        "2.12 (GPT of 10.7 M, nanoGPT)",
        ("bpc",),
        (0,),
    ),
}
KEPT = "best_epoch", "epochs", "seconds", "parameters"


def train(data, result, seed):
    """Trains as a user does; returns the numbers of the run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in data.iterdir():
            (folder / path.name).symlink_to(path.resolve())
        if "months.csv" in result.command:
            lines = (data / "ETTh1.csv").read_text().splitlines(keepends=True)
            (folder / "months.csv").write_text("".join(lines[:MONTHS]))
        args = "train", *result.command.split(), "--seed", str(seed), "--out", "run"
        run(folder, "gru_jax", *args)
        numbers = json.loads((folder / "run" / "result.json").read_text())
    starts = tuple(
        f"{part}_{metric}" for part in ("test", "validation") for metric in result.metrics
    )
    return {key: value for key, value in numbers.items() if key in KEPT or key.startswith(starts)}


def measure(data, names):
    """Trains with each command and seed, and writes the figures."""
    runs = json.loads(FIGURES.read_text())["runs"]
    for name in names or RESULTS:
        result, rows = RESULTS[name], []
        for seed in result.seeds:
            rows.append({"command": result.command, "seed": seed, **train(data, result, seed)})
            print(name, rows[-1], flush=True)
        runs[name] = rows
        FIGURES.write_text(json.dumps(setting() | {"runs": runs}, indent=1) + "\n")


def mean_and_deviation(rows, metric="loss", digits=2):
    """Returns the mean over the seeds and the sample standard deviation, as text."""
    values = [row[f"test_{metric}"] for row in rows]
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


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


def texts(figures):
    """Returns the lines of the guide's table of tiny Shakespeare."""
    lines = [
        "| tiny Shakespeare | parameters | minutes | bits per character |",
        "|---|---|---|---|",
    ]
    for name in (name for name, result in RESULTS.items() if result.metrics == ("bpc",)):
        (row,) = figures["runs"][name]
        model = "large" if "large" in row["command"] else "medium"
        lines.append(
            f"| **gru_jax, `{model}`**, two CPU cores | {row['parameters']:,} "
            f"| {row['seconds'] / 60:.0f} | {row['test_bpc']:.2f} |"
        )
    lines.append("| GPT, nanoGPT's example for a laptop | 0.8 million | about 3 | 2.71 |")
    lines.append("| GPT, nanoGPT's example for an A100 | 10.7 million | about 3 | 2.12 |")
    return lines


def etth1(figures):
    """Returns the lines of the guide's table of ETTh1."""
    lines = ["| ETTh1, 96 hours from 96 | MSE | MAE |", "|---|---|---|"]
    rows = figures["runs"]["ETTh1"]
    metrics = RESULTS["ETTh1"].metrics
    ours = (mean_and_deviation(rows, metric, 3) for metric in metrics)
    lines.append(f"| **gru_jax, `--model segrnn`, three seeds** | {' | '.join(ours)} |")
    for model, *values in (
        ("SegRNN, Lin et al. 2023", "0.368", "0.395"),
        ("iTransformer, Liu et al. 2024", "0.386", "0.405"),
        ("DLinear, in Liu et al. 2024", "0.386", "0.400"),
        ("PatchTST, in Liu et al. 2024", "0.414", "0.419"),
    ):
        lines.append(f"| {model} | {' | '.join(values)} |")
    naive = (f"{rows[0][f'test_{metric}_seasonal_naive']:.3f}" for metric in metrics)
    lines.append(f"| seasonal naive, no training | {' | '.join(naive)} |")
    return lines


def results(figures):
    """Returns the lines of the README's table."""
    vowels = json.loads((FOLDER / "vowels.json").read_text())["seeds"].values()
    accuracy = [100 * row["test_accuracy"] for row in vowels]
    ours = f"{statistics.mean(accuracy):.1f} ± {statistics.stdev(accuracy):.1f} %"
    best = max(PUBLISHED, key=lambda row: row.value)
    others = f"{100 * best.value:.1f} % ({best.model}, {best.source})"
    lines = ["| test set | gru_jax | seeds | published |", "|---|---|---|---|"]
    lines.append(f"| JapaneseVowels, accuracy | {ours} | {len(accuracy)} | {others} |")
    for name, result in RESULTS.items():
        rows = figures["runs"][name]
        means = (mean_and_deviation(rows, metric, result.digits) for metric in result.metrics)
        ours = ", ".join(means)
        if result.metrics == ("bpc",):
            ours += f" (GRU of {rows[0]['parameters'] / 1e6:.1f} M)"
        lines.append(f"| {result.label} | {ours} | {len(rows)} | {result.published} |")
    return lines


def commands():
    """Returns the lines of the README's commands."""
    lines = ["gru-jax train", *(f"gru-jax train {r.command}" for r in RESULTS.values())]
    place = next(i for i, line in enumerate(lines) if "months.csv" in line)
    lines.insert(place, f"head -{MONTHS} ETTh1.csv > months.csv")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        folder, *names = sys.argv[sys.argv.index("--measure") + 1 :]
        measure(Path(folder), names)
    figures = json.loads(FIGURES.read_text())
    write_table(LANGUAGE, "| test loss, nats per step |", losses(figures))
    write_table(LANGUAGE, "| tiny Shakespeare |", texts(figures))
    write_table(FORECAST, "| ETTh1, 96 hours", etth1(figures))
    write_table(README, "| test set |", results(figures))
    write_table(README, "gru-jax train\ngru-jax", [*commands(), "```"])
