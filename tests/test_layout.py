"""The layout that a reader may count on: tests beside what they test, short files, few folders."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "gru_jax"
FILES = sorted(TESTS.rglob("*.py"))
LONGEST, MOST = 300, 25


def imported_tests(text, tests):
    """Returns which of these modules a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(alias.name for alias in node.names if node.level)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return sorted(name for name in names if name.split(".")[-1] in tests)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_imports_another(path):
    tests = {path.stem for path in FILES if path.stem.startswith("test_")}
    assert imported_tests(path.read_text(), tests) == []


def test_an_import_of_a_test_is_seen_wherever_it_stands():
    text = "import test_a\ndef f():\n    from tests.test_b import x\n    from . import test_c"
    tests = {"test_a", "test_b", "test_c"}
    assert imported_tests(text, tests) == ["test_a", "test_c", "tests.test_b"]
    assert imported_tests("import jax.test_util\nfrom reference import test_a", tests) == []


def test_tests_mirror_the_folders_of_the_package():
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert {str(folder) for folder in folders if not (PACKAGE / folder).is_dir()} == set()


def test_no_file_of_the_package_is_long():
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    long = {str(path.relative_to(PACKAGE)): n for path, n in lines.items() if n > LONGEST}
    assert lines
    assert long == {}


def test_the_top_folder_of_the_package_is_small():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert len(entries) <= MOST
