"""Writes the table of numbers in the README: `python notebooks/figures/readme.py`.

The numbers are those of the pages "Speed", "JapaneseVowels" and "Memory", from the files beside
this one.
"""

import json
from pathlib import Path

from page_table import write_table
from speed import TITLES, speed_ups

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "README.md"
HEAD = "| on two CPU cores | measured |"
FORM = "after"
"""The form of the GRU that every library has, but for Haiku."""


def table():
    """Returns the lines of the table."""
    vowels, memory = (json.loads((FOLDER / f"{n}.json").read_text()) for n in ("vowels", "memory"))
    lines, speeds = [HEAD, "|---|---|"], speed_ups()
    for measure, title in TITLES.items():
        for opponent, value in speeds[measure][FORM].items():
            times = f"{value.mean:.1f} times as fast (at least {value.worst:.1f})"
            lines.append(f"| {title}, compared with {opponent} | {times} |")
    accuracy = f"{100 * vowels['median']['test_accuracy']:.1f} %"
    seconds = f"{vowels['median']['seconds']:.0f} s"
    lines.append(f"| `gru-jax train`: time, and test accuracy | {seconds}, {accuracy} |")
    size, rows = memory["lengths"]["size"], memory["lengths"]["rows"]
    longest = max(rows, key=lambda row: (row["steps"], row["backend"] == "cpu"))
    steps, megabytes = f"{longest['steps']:,} steps", longest["temporary_bytes"] / 1e6
    network = f"batch {size['batch']}, {size['hidden']} features"
    label = f"temporary memory of a gradient through {steps}, {network}"
    return [*lines, f"| {label} | {megabytes:.0f} MB |"]


if __name__ == "__main__":
    write_table(PAGE, HEAD, table())
