"""The page notebooks/guide/install.md agrees with pyproject.toml and with gru_jax's messages."""

import ast
import inspect
import re
import sys
import tomllib
from pathlib import Path

import gru_jax
from gru_jax.kernels.cpu import library
from gru_jax.kernels.gpu import library as gpu_library

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "notebooks" / "guide" / "install.md").read_text()
MODULES = {"orbax-checkpoint": "orbax", "scikit-learn": "sklearn"}
"""Packages whose modules have other names."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_versions_of_python_are_those_of_the_project():
    first, end = map(
        int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    )
    *others, last = (f"3.{minor}" for minor in range(first, end))
    assert f"| Python | {', '.join(others)} or {last} |" in PAGE


def test_the_versions_of_jax_are_those_of_the_project():
    versions = [
        re.fullmatch(r"jax(?:lib)?>=(.*),<(.*)", entry) for entry in PROJECT["dependencies"]
    ]
    ((first, end),) = {version.groups() for version in versions if version}
    assert f"| JAX and jaxlib | {first} or newer, below {end} |" in PAGE
    assert set(re.findall(r"jax\[\w+\]<([\d.]+)", PAGE)) == {end}
    assert set(re.findall(r'"jax>=([\d.]+),<([\d.]+)"', PAGE)) == {(first, end)}
    assert f"jax<{end},>={first}" in PAGE


def test_the_table_of_extras_is_that_of_the_project():
    _, table = PAGE.split("| extra | for |\n|---|---|\n")
    rows = re.findall(r"^\| `(\w+)` \| \w", table.split("\n\n")[0], re.MULTILINE)
    assert sorted(rows) == sorted(PROJECT["optional-dependencies"])


def packages(entries):
    """Returns the modules of requirements."""
    names = {re.match(r"[\w-]+", entry)[0] for entry in entries}
    return {MODULES.get(name, name) for name in names}


def test_an_import_at_the_top_of_a_file_is_of_the_core_or_of_the_folder_s_extra():
    extras = PROJECT["optional-dependencies"]
    core = packages(PROJECT["dependencies"])
    assert core == {"jax", "jaxlib", "flax", "optax", "chex", "jaxtyping", "numpy"}
    installed = {name: core | packages(extras[name]) for name in ("app", "estimators", "plot")}
    installed["app"] |= packages(extras["plot"])  # for figures, imported where it is installed
    installed["plot"].add("PIL")  # Matplotlib needs it, too.
    for path in (ROOT / "gru_jax").rglob("*.py"):
        names = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).split(".")[0])
        others = names - sys.stdlib_module_names - {"gru_jax"}
        folder = path.relative_to(ROOT / "gru_jax").parts[0]
        assert others <= installed.get(folder, core), path


def test_the_messages_on_the_page_are_those_that_come():
    messages = re.findall(r"^\| `(gru_jax.*?)` \|", PAGE, re.MULTILINE)
    sources = [ast.parse(inspect.getsource(module)) for module in (library, gpu_library, gru_jax)]
    strings = {
        node.value
        for source in sources
        for node in ast.walk(source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(messages) == 5
    for message in messages:
        assert any(string.startswith(message) for string in strings), message
