"""Writes the tables of images on the page "Speed": `python notebooks/figures/images.py`.

The times are in the files `images_*.json` beside this file, written by `gru-jax bench --json`. The
page says how.
"""

import json
import textwrap
from pathlib import Path

from page_table import write_table

from gru_jax.app.bench import results
from gru_jax.app.bench.report import digits
from gru_jax.app.bench.timing import spread

FILES = sorted(Path(__file__).parent.glob("images_*.json"))
PAGE = Path(__file__).parent.parent / "guide" / "speed.md"
START = "Images were timed on"
TITLES = {"forward": "forward pass, ms", "train": "training step, ms"}


def table(measure):
    """Returns the lines of the table: times by size, and the mean of the ratios to gru_jax.

    `[n]` means that the budget allowed only n rounds.
    """
    cells, ratios = {}, {}
    for text in (path.read_text() for path in FILES):
        rows, rounds = results.loads(text), json.loads(text)["rounds"]
        for row in rows:
            if times := row.values.get(measure):
                milliseconds = "".join(digits(spread([1e3 * seconds for seconds in times])))
                mark = f" [{len(times)}]" if len(times) < rounds else ""
                cells.setdefault(row.name, {})[row.size] = milliseconds + mark
        for label, by_size in results.relative(rows, measure).items():
            ratios.setdefault(label.split()[0], {}).update(by_size)
    sizes = list(dict.fromkeys(size for by_size in cells.values() for size in by_size))
    heads = [TITLES[measure], *map(str, sizes), "times as long as gru_jax"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, by_size in cells.items():
        mean = digits(spread(results.average(ratios[name])))[0] if name in ratios else "1"
        texts = [by_size.get(size, "") for size in sizes]
        lines.append(f"| {' | '.join([name, *texts, mean])} |")
    return lines


def conditions():
    """Returns the machine, the versions and the largest differences, in words."""
    text = FILES[0].read_text()
    content, rows = json.loads(text), [r for p in FILES for r in results.loads(p.read_text())]
    versions, machine = content["versions"], content["machine"]
    states, gradients = (
        max(row.differences.get(kind, 0) for row in rows) for kind in ("states", "gradients")
    )
    return textwrap.wrap(
        f"{START} {machine['cpus']} CPU cores ({machine['platform']}), with JAX {versions['jax']}, "
        f"Flax {versions['flax']} and PyTorch {versions['torch'].split('+')[0]}. States agree "
        f"within {states:.1e}, and gradients within {gradients:.1e} of the largest entry of each.",
        100,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    write_table(PAGE, START, conditions())
    for name, title in TITLES.items():
        write_table(PAGE, f"| {title} | 8,20,", table(name))
