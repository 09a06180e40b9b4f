"""Fixtures of the tests of the command."""

import pytest
from command_line import SMALL
from small_texts import SMALL_TEXT, write_text

from gru_jax.app.cli import main


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A small trained run, made by the command; of the session, for no test changes it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    """A small run of language, made by the command; its text is beside it."""
    folder = tmp_path_factory.mktemp("language")
    write_text(folder / "text.txt")
    data = ["--data", str(folder / "text.txt"), "--out", str(folder / "run")]
    assert main(["train", "language", *data, *SMALL_TEXT]) == 0
    return folder / "run"
