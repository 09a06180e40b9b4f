"""The documents, and how to read them."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README, CONTRIBUTING = (ROOT / "README.md"), (ROOT / "CONTRIBUTING.md")
PAGES = sorted((ROOT / "notebooks" / "guide").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCUMENTS = [README, CONTRIBUTING, *PAGES, *NOTEBOOKS]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(path):
    """Returns a document's text; of a notebook, its text cells'."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(path, language):
    """Returns the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(path), re.MULTILINE | re.DOTALL)


def prose(path):
    """Returns the sentences outside code, tables, headings and pictures."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(\||#|!).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "X", text))
    parts = re.split(r"(?<=[.!?:])\s+(?=[A-Z])|\n\s*\n|\n- ", text)
    return [words for part in parts if (words := re.findall(r"[A-Za-z][\w'-]*", part))]


def anchors(path):
    """Returns what a link's `#...` may name, as code hosts make it from headings."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(path):
    return path.name
