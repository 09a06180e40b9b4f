"""Writes the comparison with an LSTM on the page "Speed": `python notebooks/figures/lstm.py`.

The numbers are the stored outputs of the notebook `gru_vs_lstm`. This makes them again:

    python notebooks/execute.py gru_vs_lstm
"""

import json
import re
from pathlib import Path

from page_table import write_table

NOTEBOOK = Path(__file__).parent.parent / "gru_vs_lstm.ipynb"
PAGE = Path(__file__).parent.parent / "guide" / "speed.md"


def output(notebook, cell, kind):
    """Returns the text that a cell has printed, or that it displays as Markdown."""
    cells = {cell["id"]: cell for cell in json.loads(notebook.read_text())["cells"]}
    texts = []
    for stored in cells[cell]["outputs"]:
        lines = stored.get("data", {}).get(kind) or (kind == stored.get("name") and stored["text"])
        texts += [lines] if isinstance(lines, str) else lines or []
    if not texts:
        raise ValueError(
            f"lstm: cell {cell} of {notebook.name} must have a stored output, got none: "
            f"python notebooks/execute.py {notebook.stem}"
        )
    return "".join(texts)


def table(notebook=NOTEBOOK):
    """Returns the lines of the table that the notebook displays."""
    return output(notebook, "table", "text/markdown").splitlines()


def default(notebook=NOTEBOOK):
    """Returns the sentence about the time of a GRU with default options."""
    printed = output(notebook, "time", "stdout")
    (milliseconds,) = re.findall(r"^GRU, default +([\d.]+) ms", printed, re.MULTILINE)
    return f"With its default options, `gj.gru` runs in C++: {milliseconds} ms."


def write(notebook=NOTEBOOK):
    """Writes table and sentence into the page."""
    write_table(PAGE, "\n|  |", ["", *table(notebook)])
    write_table(PAGE, "With its default options", [default(notebook)])


if __name__ == "__main__":
    write()
