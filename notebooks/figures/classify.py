"""Writes results into the page Classify: `python notebooks/figures/classify.py`.

    --measure FOLDER  first runs `gru-jax train classify` on five sets of the archives of time
                      series, and writes classify.json. FOLDER is aeon/datasets/data of the package
                      aeon. Many minutes.

Without an option the table is written again from the file beside this one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from page_table import write_table

from gru_jax.app.bench.results import machine, versions

FIGURES = Path(__file__).parent / "classify.json"
PAGE = Path(__file__).parent.parent / "guide" / "classify.md"
SETS = (
    *("BasicMotions", "ItalyPowerDemand", "GunPoint", "PickupGestureWiimoteZ"),
    "CardanoSentiment",  # the labels are numbers
)
KEPT = "test_accuracy", "test_rmse", "seconds", "epochs", "best_epoch", "parameters"


def train(source, folder):
    """Trains as a user does, with the official test set; returns the numbers of the run."""
    files = "--data", f"{source}_TRAIN.ts", "--test", f"{source}_TEST.ts"
    args = [sys.executable, "-m", "gru_jax", "train", "classify", *files, "--out", folder]
    process = subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads((folder / "result.json").read_text())
    (sizes,) = (line for line in process.stdout.splitlines() if line.startswith("data "))
    baseline = {name: value for name, value in result.items() if name.endswith(("class", "_mean"))}
    return (
        {"data": sizes.split(maxsplit=1)[1].rstrip()}
        | baseline
        | {name: result[name] for name in KEPT if name in result}
    )


def measure(source):
    """Trains on each set, and writes the figures."""
    packages = {name: versions()[name] for name in ("python", "jax", "jaxlib", "numpy")}
    figures = {"versions": packages, "machine": machine(), "sets": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            figures["sets"][name] = train(source / name / name, Path(folder) / name)
            print(name, figures["sets"][name], flush=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def table(figures):
    """Returns the lines of the table."""
    lines = ["| set | train, validation, test | gru_jax | no training |", "|---|---|---|---|"]
    for name, row in figures["sets"].items():
        sizes = ", ".join(word for word in row["data"].replace(",", "").split() if word.isdigit())
        counts = ", ".join(sizes.split(", ")[:3])
        if "test_accuracy" in row:
            values = row["test_accuracy"], row["test_accuracy_most_frequent_class"]
            texts = [f"{100 * value:.1f} %" for value in values]
        else:
            values = row["test_rmse"], row["test_rmse_training_mean"]
            texts = [f"rmse {value:.3g}" for value in values]
        lines.append(f"| {' | '.join([name, counts, *texts])} |")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure(Path(sys.argv[sys.argv.index("--measure") + 1]))
    write_table(PAGE, "| set |", table(json.loads(FIGURES.read_text())))
