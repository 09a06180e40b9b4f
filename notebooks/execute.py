"""Executes the notebooks and stores their outputs: `python notebooks/execute.py [NAME ...]`.

Each runs in a fresh kernel of this interpreter, in an empty folder. The file changes only if every
cell succeeds. The metadata hold a fingerprint of the notebook's code and of `gru_jax.plot`, so that
a test can tell whether the outputs are current. It does not cover the rest of gru_jax.
"""

import hashlib
import io
import json
import os
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from PIL import Image

from gru_jax import files, plot

FOLDER = Path(__file__).parent
MAX_BYTES = 300_000
"""Largest notebook with its outputs."""
DPI = 100
COLOURS = 128
SECONDS = 600
"""Longest time for one cell."""


def fingerprint(notebook):
    """Returns a hash of the notebook's code and of the code that draws its figures."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code += [path.read_text() for path in sorted(Path(plot.__file__).parent.glob("*.py"))]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def execute(notebook):
    """Runs all cells and keeps their outputs in the notebook.

    Raises:
        CellExecutionError: if a cell fails.
        ValueError: if a cell writes to stderr, as warnings do.
    """
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "matplotlibrc").write_text(f"figure.dpi: {DPI}\n")
        client = NotebookClient(
            notebook,
            AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),
            extra_arguments=["--log-level=ERROR"],  # It warns of connections without encryption.
            timeout=SECONDS,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=os.environ | inline, cleanup_kc=True)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise ValueError(f"execute: {cell.id} must write no warning, got {output.text}")


def tidy(notebook):
    """Removes what differs between machines, makes pictures small, and adds the fingerprint."""
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.gru_jax = {"executed": fingerprint(notebook)}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/gif" in data:  # Code hosts do not know this type; browsers read the bytes.
                data["image/png"] = data.pop("image/gif")
            elif "image/png" in data:
                data["image/png"] = shrink(data["image/png"])


def shrink(picture):
    """Returns a PNG, in base64, with a palette."""
    image = Image.open(io.BytesIO(b64decode(picture))).convert("RGB")
    palette = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    file = io.BytesIO()
    image.quantize(COLOURS, **palette).save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


def store(path):
    """Executes the notebook and writes it with its outputs.

    Raises:
        ValueError: if it is too large then.
    """
    notebook = nbformat.read(path, 4)
    execute(notebook)
    tidy(notebook)
    text = nbformat.writes(notebook) + "\n"
    if (size := len(text.encode())) > MAX_BYTES:
        raise ValueError(f"execute: {path.name} must be {MAX_BYTES} bytes or less, got {size}.")
    files.write_text(path, text)


if __name__ == "__main__":
    notebooks = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    if unknown := set(sys.argv[1:]) - set(notebooks):
        raise SystemExit(f"execute: NAME must be of {', '.join(notebooks)}, got {min(unknown)}.")
    for name in sys.argv[1:] or notebooks:
        start = time.perf_counter()
        store(notebooks[name])
        size, seconds = notebooks[name].stat().st_size, time.perf_counter() - start
        print(f"{name}: {size / 1000:.0f} kB, {seconds:.0f} s", flush=True)
