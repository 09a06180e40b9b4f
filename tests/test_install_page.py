"""The page notebooks/guide/install.md agrees with pyproject.toml and with gru_jax's messages."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import gru_jax
from gru_jax.kernels.cpu import library

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "notebooks" / "guide" / "install.md").read_text()
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


def test_the_messages_on_the_page_are_those_that_come():
    messages = re.findall(r"^\| `(gru_jax.*?)` \|", PAGE, re.MULTILINE)
    sources = [ast.parse(inspect.getsource(module)) for module in (library, gru_jax)]
    strings = {
        node.value
        for source in sources
        for node in ast.walk(source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(messages) == 4
    for message in messages:
        assert any(string.startswith(message) for string in strings), message
