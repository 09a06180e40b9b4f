"""The site's reference has every public name, and its menu every page."""

import re
from pathlib import Path

import pytest

import gru_jax as gj

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
REFERENCE = {path.stem: path.read_text() for path in (NOTEBOOKS / "reference").glob("*.md")}
MODULES = {"gru_jax": gj} | {
    f"gru_jax.{name}": getattr(gj, name)
    for name in ("agents", "estimators", "interop", "linen", "nnx", "plot", "testing")
}


def documented():
    """Returns the full names that the pages document."""
    names = set()
    for page in REFERENCE.values():
        module = "gru_jax"
        for kind, name in re.findall(r"^\.\. (\w+):: ([\w.]+)", page, re.MULTILINE):
            if kind == "currentmodule":
                module = name
            elif kind != "automodule":
                names.add(name if name.startswith("gru_jax.") else f"{module}.{name}")
        rows = re.findall(r"^\| `gj\.([\w.]+)`", page, re.MULTILINE)
        names |= {f"gru_jax.{name}" for name in rows}
    return names


def public(module):
    """Returns the public names of a module: those that it defines or exports as `x as x`."""
    if module is gj:
        return set(gj.__all__) - {name.removeprefix("gru_jax.") for name in MODULES}
    source = Path(module.__file__).read_text()
    exported = re.findall(r"^(?:from .* )?import (\w+) as \1$", source, re.MULTILINE)
    names = {*exported, *re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", source, re.MULTILINE)}
    return {name for name in names if getattr(gj, name, None) is not getattr(module, name)}


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_reference(name):
    names = {f"{name}.{each}" for each in public(MODULES[name])}
    assert names
    assert names - documented() == set()


def test_the_reference_names_only_what_there_is():
    for name in documented():
        module, _, attribute = name.rpartition(".")
        assert hasattr(MODULES[module], attribute), name


def test_every_page_is_in_the_menu():
    menu = (NOTEBOOKS / "index.md").read_text() + REFERENCE["index"]
    entries = set(re.findall(r"^(?:.* <)?([\w/]+)>?$", menu, re.MULTILINE))
    for path in [*NOTEBOOKS.rglob("*.md"), *NOTEBOOKS.glob("*.ipynb")]:
        if path.name != "index.md":
            page = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
            assert {page, path.stem if path.parent.name == "reference" else page} & entries, page
