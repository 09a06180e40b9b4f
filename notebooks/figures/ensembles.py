"""Writes the tables of ensembles on the page "Speed": `python notebooks/figures/ensembles.py`.

The times are in ensembles.json beside this file, written by `gru-jax bench --json`. The page says
how. Speed-ups are computed as in speed.py.
"""

import json
from pathlib import Path

from page_table import write_table
from speed import JAX, PAGE, TITLES, VERSIONS, in_markdown, slower, speed_up_table, times, wrap

from gru_jax.app.bench.contenders import CONTENDERS, OURS

FILE = Path(__file__).parent / "ensembles.json"
OPPONENTS = {
    "XLA's loops": ["xla"],
    "the fastest other JAX library": [name for name in JAX if name not in (OURS, "xla")],
}


def tables():
    """Returns the lines of each table and paragraph, by the start of its first line."""
    head = "ensembles: speed-up of gru_jax over"
    parts = {f"| {head} |": speed_up_table(head, [FILE], OPPONENTS)}
    first, *cases = slower([FILE], OPPONENTS)
    parts["Of ensembles,"] = [f"Of ensembles, {first}", *cases]
    parts["Ensembles were timed"] = wrap(conditions())
    for measure, title in TITLES.items():
        lines = times(FILE, measure)
        lines[0][0] = f"{title} of all members, ms"
        parts[f"| {lines[0][0]} |"] = in_markdown(lines)
    return parts


def conditions():
    """Returns the rounds, the machine and the versions, in words."""
    content = json.loads(FILE.read_text())
    machine, names = content["machine"], [row["name"] for row in content["results"]]
    timed = {"jax", *(p for name in names for p in CONTENDERS[name].packages.values())}
    versions = [
        f"{VERSIONS[package]} {version}"
        for package, version in content["versions"].items()
        if package in timed
    ]
    return (
        f"Ensembles were timed in {content['rounds']} rounds, on {machine['cpus']} CPU cores "
        f"({machine['processor']}, {machine['platform']}), with {', '.join(versions)}."
    )


if __name__ == "__main__":
    for start, lines in tables().items():
        write_table(PAGE, start, lines)
