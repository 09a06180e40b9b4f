"""Fixtures of the tests of the command."""

import os

import numpy as np
import pytest
from command_line import SMALL
from forecast_files import make_rows, write_rows
from killed_run import TASK
from made_up_tasks import add
from run_folders import start
from small_texts import SMALL_TEXT, write_text

from gru_jax.app.cli import main


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch):
    """Animations are drawn frame by frame, which takes most of the time of `explain`."""
    monkeypatch.setattr("gru_jax.app.figures.FRAMES", 4)


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


@pytest.fixture(scope="session")
def sales(tmp_path_factory):
    """The rows of two places, and the path of a file with them."""
    rows = make_rows(np.random.default_rng(3))
    return rows, write_rows(tmp_path_factory.mktemp("data") / "sales.csv", rows)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Compiled programs are kept, or each of the children would compile its own."""
    cache = tmp_path_factory.mktemp("cache")
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture
def _random_task(monkeypatch):
    add(monkeypatch, TASK)


@pytest.fixture(scope="session")
def whole(tmp_path_factory, environment):
    """The run that is left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with start(environment, folder, 0) as child:
        assert child.wait() == 0
    return folder
