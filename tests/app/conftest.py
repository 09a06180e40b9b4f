"""Fixtures of the tests of the command."""

import pytest
from command_line import SMALL

from gru_jax.app.cli import main


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A small trained run, made by the command; of the session, for no test changes it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--out", str(folder), *SMALL]) == 0
    return folder
