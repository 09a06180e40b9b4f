"""Writes the tables and the picture of the page "Speed": `python notebooks/figures/speed.py`.

The times are in two files beside this one. These commands wrote them:

    gru-jax bench --json notebooks/figures/speed.json
    python notebooks/figures/onednn.py

A speed-up is the time of an opponent over gru_jax's. The faster form of an opponent counts,
whichever form gru_jax computes.
"""

import hashlib
import json
import textwrap
from pathlib import Path
from typing import NamedTuple

from page_table import write_table

from gru_jax.app.bench import results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS
from gru_jax.app.bench.names import FULL_NAMES
from gru_jax.app.bench.report import digits
from gru_jax.app.bench.timing import spread

FOLDER = Path(__file__).parent
PEERS, ONEDNN = FOLDER / "speed.json", FOLDER / "onednn.json"
PAGE, PICTURE = FOLDER.parent / "guide" / "speed.md", FOLDER / "speed.png"
TITLES = {"train": "training step", "forward": "forward pass"}
JAX = [name for name, each in CONTENDERS.items() if not each.platforms]
OPPONENTS = {
    "the fastest other JAX library": [name for name in JAX if name not in (OURS, "xla")],
    "PyTorch": ["torch"],
    "ONNX Runtime": ["onnx"],
    "oneDNN": ["onednn"],
}
NAMES = FULL_NAMES | {"onednn": "oneDNN"}
VERSIONS = {
    "python": "Python",
    "jax": "JAX",
    "numpy": "NumPy",
    "flax": "Flax",
    "equinox": "Equinox",
    "dm-haiku": "Haiku",
    "keras": "Keras",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "onednn": "oneDNN",
}


class SpeedUp(NamedTuple):
    """The geometric mean over the sizes, and the smallest value."""

    mean: float
    worst: float


def ratios(measure, reset, files=(PEERS, ONEDNN), opponents=OPPONENTS):
    """Returns, by opponent and size, the time of each round over gru_jax's in the form `reset`."""
    table = {}
    for path in files:
        rows = results.loads(path.read_text())
        ours = [row for row in rows if (row.name, row.reset) == (OURS, reset)]
        # Every form is compared with this one of gru_jax, so the label becomes the name.
        others = [r._replace(name=r.label, reset=reset) for r in rows if r.name != OURS]
        for label, by_size in results.relative([*ours, *others], measure).items():
            for opponent, names in opponents.items():
                if label.split()[0] in names:
                    best = table.setdefault(opponent, {})
                    for size, values in by_size.items():
                        best[size] = min(best.get(size, values), values, key=spread)
    return table


def speed_ups(files=(PEERS, ONEDNN), opponents=OPPONENTS):
    """Returns `{measure: {reset: {opponent: SpeedUp}}}`; an opponent without times is absent."""
    return {
        measure: {
            reset: {
                opponent: SpeedUp(
                    spread(results.average(by_size)).median,
                    min(spread(values).median for values in by_size.values()),
                )
                for opponent, by_size in ratios(measure, reset, files, opponents).items()
            }
            for reset in BOTH
        }
        for measure in TITLES
    }


def times(path, measure):
    """Returns the rows of a table of medians in ms, the smallest of each size in bold.

    A median has no more digits than its quartiles support.
    """
    content, rows = json.loads(path.read_text()), results.loads(path.read_text())
    rows = [row for row in rows if measure in row.values]
    sizes = list(dict.fromkeys(row.size for row in rows))
    spreads = {
        (row.name, row.reset, row.size): spread([1e3 * value for value in row.values[measure]])
        for row in rows
    }
    fewer = [row.label for row in rows if len(row.values[measure]) < content["rounds"]]
    assert not fewer, f"the budget was too small for {fewer}"
    best = {size: min(v.median for key, v in spreads.items() if key[2] == size) for size in sizes}
    lines = [["library", "reset", *map(str, sizes)]]
    for name, reset in dict.fromkeys((row.name, row.reset) for row in rows):
        cells = [NAMES[name], reset]
        for size in sizes:
            value = spreads[name, reset, size]
            text = digits(value)[0]
            cells.append(f"**{text}**" if value.median == best[size] else text)
        lines.append(cells)
    return lines


def speed_up_table(head, files=(PEERS, ONEDNN), opponents=OPPONENTS):
    """Returns the lines of the table of speed-ups; the worst size is in parentheses."""
    lines = [[head, "reset", *opponents]]
    for measure, by_reset in speed_ups(files, opponents).items():
        for reset, by_opponent in by_reset.items():
            cells = [by_opponent.get(opponent) for opponent in opponents]
            texts = [f"{cell.mean:.2f} ({cell.worst:.2f})" if cell else "" for cell in cells]
            lines.append([TITLES[measure], reset, *texts])
    return in_markdown(lines)


def tables():
    """Returns the lines of each table and paragraph, by the start of its first line."""
    parts = {}
    for measure, title in TITLES.items():
        lines = times(PEERS, measure)
        lines[0][0] = f"{title}, ms"
        parts[f"| {title}, ms | reset |"] = in_markdown(lines)
    lines = []
    for measure, title in TITLES.items():
        head, *body = times(ONEDNN, measure)
        lines += [["beside oneDNN, ms", *head]] if not lines else []
        lines += [[title, *cells] for cells in body]
    parts["| beside oneDNN, ms |"] = in_markdown(lines)
    parts["| speed-up of gru_jax over |"] = speed_up_table("speed-up of gru_jax over")
    parts["gru_jax is slower in"] = slower()
    parts["The times are medians of"] = wrap(f"The times are {conditions(PEERS)}")
    parts["oneDNN and gru_jax"] = wrap(
        f"oneDNN and gru_jax were timed together in a separate run: {conditions(ONEDNN)}"
    )
    return parts


def slower(files=(PEERS, ONEDNN), opponents=OPPONENTS):
    """Returns a sentence about the comparisons in which gru_jax takes longer, and their list."""
    speeds = {
        f'{opponent}, {title}, `reset="{reset}"`, {size}': spread(values).median
        for measure, title in TITLES.items()
        for reset in BOTH
        for opponent, by_size in ratios(measure, reset, files, opponents).items()
        for size, values in by_size.items()
    }
    cases = [
        f"- {case}: speed-up {value:.2f}" for case, value in speeds.items() if round(value, 2) < 1
    ]
    if not cases:
        return [f"gru_jax is slower in none of the {len(speeds)} comparisons."]
    return [f"gru_jax is slower in {len(cases)} of the {len(speeds)} comparisons:", *cases]


def conditions(path):
    """Returns the rounds, the machine and the versions of a file, in words."""
    content = json.loads(path.read_text())
    machine = content["machine"]
    system = ", ".join(machine[key] for key in ("processor", "platform") if key in machine)
    versions = [
        f"{VERSIONS[package]} {version.split('+')[0]}"
        for package, version in content["versions"].items()
        if package in VERSIONS
    ]
    return (
        f"medians of {content['rounds']} rounds, on {machine['cpus']} CPU cores ({system}). "
        f"Versions: {', '.join(versions)}."
    )


def digest():
    """Returns the fingerprint of the measured file, which the picture carries."""
    return hashlib.sha256(PEERS.read_bytes()).hexdigest()


def draw_picture():
    """Draws the picture as `gru-jax bench --figure` does."""
    from gru_jax.app.bench.figure import draw

    figure = draw(results.loads(PEERS.read_text()))
    figure.savefig(PICTURE, dpi=150, metadata={"Description": digest()})


def in_markdown(lines):
    """Returns the lines of a table, the first of which is its head."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return [head, "|---" * len(lines[0]) + "|", *body]


def wrap(text):
    """Returns the lines of a paragraph."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    for start, lines in tables().items():
        write_table(PAGE, start, lines)
    draw_picture()
