"""What every notebook keeps to: no stored outputs, public names alone, asserted claims."""

import ast
import inspect
import json
import sys
from pathlib import Path

import pytest

import gru_jax as gj
from gru_jax import interop, plot

FOLDER = Path(__file__).parent.parent / "notebooks"
ALLOWED = {"jax", "jaxlib", "numpy", "optax", "flax", "matplotlib", "IPython", "gru_jax"}
PUBLIC = {
    module.__name__: {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    for module in (gj, plot, interop)
}
PUBLIC["gru_jax"] |= {"plot", "interop"}
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public, and begin with an underscore only so as not to clash with fields."""


@pytest.fixture(params=sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def cells(request):
    return json.loads(request.param.read_text())["cells"]


@pytest.fixture
def tree(cells):
    return ast.parse("\n".join(source(cell) for cell in cells if cell["cell_type"] == "code"))


def source(cell):
    return "".join(cell["source"])


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


def test_there_are_notebooks():
    assert (FOLDER / "quickstart.ipynb").exists()


def test_no_outputs_are_stored(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"]] == []
    assert [cell["id"] for cell in code if cell["execution_count"] is not None] == []


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


def test_it_opens_with_what_the_reader_will_be_able_to_do(cells):
    assert cells[0]["cell_type"] == "markdown"
    assert "After this notebook you can" in source(cells[0])


def test_it_ends_in_asserts(cells):
    assert cells[-1]["cell_type"] == "code"
    statements = ast.parse(source(cells[-1])).body
    assert statements
    assert {type(statement) for statement in statements} == {ast.Assert}
