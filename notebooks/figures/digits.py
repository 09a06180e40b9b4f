"""Writes the table of moving digits on the page "Images": `python notebooks/figures/digits.py`.

With the folders of two runs, without and with `--coordinates`, it first takes their results into
`digits.json` beside this file, and the animation of the first run:

    gru-jax train moving_digits --out runs/plain
    gru-jax train moving_digits --out runs/coordinates --coordinates
    python notebooks/figures/digits.py runs/plain runs/coordinates
"""

import json
import shutil
import sys
from pathlib import Path

from page_table import write_table

FIGURES = Path(__file__).parent / "digits.json"
PAGE = Path(__file__).parent.parent / "guide" / "images.md"
BASELINES = {
    "black frames": "_black_frames",
    "the last frame again": "_last_frame",
    "the true digits at constant velocity, without bouncing": "_constant_velocity",
}


def collect(plain, coordinates):
    """Writes the results of the runs, with their settings, into the file of figures."""
    runs = {}
    for name, folder in {"plain": plain, "coordinates": coordinates}.items():
        config = json.loads(Path(folder, "config.json").read_text())
        assert config["coordinates"] == (name == "coordinates"), f"{folder} is another run"
        result = json.loads(Path(folder, "result.json").read_text())
        runs[name] = {"config": config, "result": result}
    FIGURES.write_text(json.dumps(runs, indent=1) + "\n")
    shutil.copy(Path(plain, "figures", "forecast.gif"), FIGURES.with_name("forecast.gif"))


def table(figures):
    """Returns the lines of the table."""
    plain, coordinates = (figures[name]["result"] for name in ("plain", "coordinates"))
    rows = {name: (plain, key) for name, key in BASELINES.items()}
    rows |= {"`conv_gru`": (plain, ""), "`conv_gru`, coordinates": (coordinates, "")}
    lines = [
        "| forecast | squared error per frame | cross entropy per frame (nats) | training |",
        "|---|---|---|---|",
    ]
    for name, (result, key) in rows.items():
        errors = f"{result[f'test_mse{key}']:.2f} | {result[f'test_bce{key}']:.1f}"
        time = "none" if key else f"{result['seconds'] / 60:.1f} min"
        lines.append(f"| {name} | {errors} | {time} |")
    return lines


if __name__ == "__main__":
    if sys.argv[1:]:
        collect(*sys.argv[1:])
    rows = table(json.loads(FIGURES.read_text()))
    write_table(PAGE, rows[0], rows)
