"""What every notebook keeps to: outputs of its own code, public names alone, checked claims.

Each runs with the answers to its exercises appended.
"""

import ast
import inspect
import re
import runpy
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

import gru_jax as gj
from gru_jax import agents, interop, plot
from gru_jax.kernels.cpu import library

FOLDER = Path(__file__).parent.parent / "notebooks"
SCRIPT = runpy.run_path(str(FOLDER / "execute.py"))
PATHS = sorted(FOLDER.glob("*.ipynb"))
QUICK = {"quickstart"}
SLOW = pytest.mark.slow("trains a network, in a process of its own")
CLOSING = """
}
for claim, holds in checks.items():
    print("yes" if holds else "NO ", claim)
assert all(checks.values())"""
ALLOWED = {"jax", "jaxlib", "numpy", "optax", "flax", "matplotlib", "IPython", "gru_jax"}
PUBLIC = {
    module.__name__: {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    for module in (gj, agents, plot, interop)
}
PUBLIC["gru_jax"] |= {"agents", "plot", "interop"}
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public, and begin with an underscore only so as not to clash with fields."""


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def tree(code):
    return ast.parse("\n".join(cell.source for cell in code))


@pytest.fixture
def make(tmp_path):
    """Returns a function that writes a notebook of one cell."""

    def write(source):
        cell = nbformat.v4.new_code_cell(source, id="cell")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
        return tmp_path / "a.ipynb"

    return write


def answers(notebook):
    """Returns the code in each folded answer."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = re.findall(r"^<details>.*?^</details>", text, re.MULTILINE | re.DOTALL)
    block = re.compile(r"^```py\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return ["\n".join(block.findall(answer)) for answer in folded]


def kinds(cell):
    """Returns the types of a cell's outputs."""
    return [
        [output.output_type, *sorted(output.get("data", ()))] for output in cell.get("outputs", ())
    ]


def imports(tree):
    """Yields what is imported, `(module, name, bound to)`; no name is the module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "." * node.level + (node.module or ""), alias.name, alias.asname or alias.name


def dotted(node):
    """Returns `a.b.c` for such an expression, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    before = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before else ""


def test_outputs_are_stored(path, notebook, code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert notebook.metadata.gru_jax.executed == SCRIPT["fingerprint"](notebook)
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
    assert path.stat().st_size <= SCRIPT["MAX_BYTES"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=() if p.stem in QUICK else SLOW) for p in PATHS],
)
def test_it_runs_and_so_do_the_answers_to_its_exercises(path, monkeypatch):
    if library.reason():  # of which a notebook would warn
        monkeypatch.setenv("GRU_JAX_BACKEND", "xla")
    notebook, stored = nbformat.read(path, 4), nbformat.read(path, 4)
    notebook.cells += map(nbformat.v4.new_code_cell, answers(notebook))
    SCRIPT["execute"](notebook)
    SCRIPT["tidy"](notebook)
    assert list(map(kinds, notebook.cells))[: len(stored.cells)] == list(map(kinds, stored.cells))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param("1 / 0", CellExecutionError, id="error"),
        pytest.param("import warnings; warnings.warn('old')", ValueError, id="warning"),
        pytest.param("print('x' * 300_000)", ValueError, id="large"),
    ],
)
def test_what_fails_is_not_stored(make, source, error):
    path = make(source)
    before = path.read_text()
    with pytest.raises(error):
        SCRIPT["store"](path)
    assert path.read_text() == before


def test_pictures_are_small_and_stored_alike_each_time(make):
    path = make("from matplotlib import pyplot\npyplot.matshow([[1, 2]])\npyplot.show()")
    SCRIPT["store"](path)
    first = path.read_text()
    SCRIPT["store"](path)
    assert path.read_text() == first
    assert '"image/png": "iVBOR' in first
    assert len(first) < 10_000


def test_only_known_packages_are_imported(tree):
    packages = {module.split(".")[0] for module, _, _ in imports(tree)}
    assert packages - ALLOWED - sys.stdlib_module_names == set()


def test_of_this_package_only_public_names_are_used(tree):
    """`gj.unroll` and `plot.gates`, by whatever name the two modules go in the notebook."""
    bound, used = {"gru_jax": "gru_jax"}, set()
    for module, name, here in imports(tree):
        if module.split(".")[0] == "gru_jax":
            used.add((module, name))
            bound[here] = module if name is None else f"{module}.{name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, *rest = dotted(node.value).split(".")
            whole = ".".join([bound.get(head, ""), *rest])
            if whole in PUBLIC:
                used.add((whole, node.attr))
    unknown = {use for use in used if use[0] not in PUBLIC or use[1] not in {None, *PUBLIC[use[0]]}}
    assert unknown == set()


def test_nothing_private_is_used(tree):
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for module, name, _ in imports(tree):
        names |= {*module.split("."), name or ""}
    assert {name for name in names if name.startswith("_")} - OF_NAMED_TUPLES == set()


def test_it_opens_with_what_the_reader_will_be_able_to_do(notebook):
    assert notebook.cells[0].cell_type == "markdown"
    assert "After this notebook you can" in notebook.cells[0].source


def test_it_ends_in_exercises_and_a_check_that_a_student_can_read(notebook):
    *text, last = notebook.cells
    headings = re.findall(r"^## .*$", "\n".join(cell.source for cell in text), re.MULTILINE)
    assert headings[-2:] == ["## Exercises", "## What we have seen"]
    assert len(answers(notebook)) == 2
    assert all(answers(notebook))
    assert last.source.endswith(CLOSING)
    printed = "".join(output.text for output in last.outputs).splitlines()
    _, checks = last.source.split("checks = {")
    claims = len(re.findall(r'^    "', checks, re.MULTILINE))
    assert [line[:4] for line in printed] == ["yes "] * claims
