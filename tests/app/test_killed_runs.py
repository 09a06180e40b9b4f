"""A run that is killed at any moment goes on to the same bits as one that is left alone."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from killed_run import EPOCHS, TASK

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import problem as problems
from gru_jax.app import runs

CHILD = Path(__file__).parent.parent / "support" / "killed_run.py"
KILLS = 20


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Compiled programs are kept, or each of the children would compile its own."""
    cache = tmp_path_factory.mktemp("cache")
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory, environment):
    """The run that is left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with start(environment, folder, 0) as child:
        assert child.wait() == 0
    return folder


def start(environment, folder, *args):
    args = [sys.executable, CHILD, folder, *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(args, env=environment, text=True, **pipes)


@pytest.mark.slow("starts a process for each kill")
def test_a_run_that_is_killed_twenty_times_ends_in_the_same_bits(tmp_path, environment, whole):
    """Ten times after a while, ten times before some operation on files, begun anew or resumed."""
    folder, draw, reached = tmp_path / "x", random.Random(0), []
    for kill in range(KILLS):
        at_operation = draw.randrange(1, 300) if kill % 2 else 0
        more = ["--resume"] if (folder / "config.json").exists() else []
        with start(environment, folder, at_operation, *more) as child:
            assert child.stdout.readline() == "ready\n"
            if not at_operation:
                time.sleep(draw.uniform(0, 1))
                child.kill()
            said = child.stdout.read()
        assert child.returncode == -signal.SIGKILL, said
        reached.append(count_epochs(folder))
    assert 5 < reached[-1] < EPOCHS, reached
    with start(environment, folder, 0, "--resume") as child:
        said = child.stdout.read()
    assert child.returncode == 0, said
    check_same(folder, whole)


@pytest.mark.slow("continues sixty runs")
def test_before_each_operation_of_a_save_the_folder_holds_a_whole_run(
    tmp_path, environment, whole, monkeypatch
):
    """As SIGKILL would leave it there: what is written stays, also where nothing is closed."""
    folder, states = tmp_path / "x", tmp_path / "states"
    shutil.copytree(whole, folder)
    with start(environment, folder, "states", states) as child:
        said = child.stdout.read()
    assert child.returncode == 0, said
    task, config = runs.read_config(folder)
    problem = problems.make_problem(task, config)  # One for all, and so compiled once.
    loop, epochs = problems.make_loop(problem), []
    monkeypatch.setattr(problems, "make_problem", lambda *_: problem)
    monkeypatch.setattr(problems, "make_loop", lambda _: loop)
    for state in distinct(sorted(states.iterdir())):
        run = runs.reopen(state, task, config)
        epochs.append(len(run.rows))
        _, best = interop.load(state / "best.safetensors")
        chex.assert_trees_all_equal(best, run.progress.best_params)
        runs.train(run, lambda _: None, lambda: False)
        check_same(state, folder, EPOCHS + 1)
    assert len(epochs) > 50
    assert epochs == sorted(epochs)
    assert set(epochs) == {EPOCHS, EPOCHS + 1}


def distinct(folders):
    """Yields the folders that differ from the one before."""
    before = None
    for folder in folders:
        paths = sorted(folder.rglob("*"))
        content = [
            (path.relative_to(folder), path.is_file() and path.read_bytes()) for path in paths
        ]
        if content != before:
            yield folder
        before = content


def count_epochs(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def check_same(folder, whole, epochs=EPOCHS):
    for name in ("best.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    rows = read_rows(folder)
    assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
    assert rows == read_rows(whole)
    results = [json.loads((f / "result.json").read_text()) for f in (folder, whole)]
    assert untimed(results[0]) == untimed(results[1])
    chex.assert_trees_all_equal(*(load(f) for f in (folder, whole)))
    assert names(folder) == names(whole)


def read_rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [untimed(json.loads(line)) for line in lines]


def untimed(row):
    return {name: value for name, value in row.items() if name != "seconds"}


@functools.cache
def load(folder):
    """Returns all arrays of a checkpoint; keys as numbers."""
    _, config = runs.read_config(folder)
    like = problems.init_progress(problems.make_problem(TASK, config))
    progress = gj.load_checkpoint(folder / "checkpoints", like)
    state = progress.state._replace(key=jax.random.key_data(progress.state.key))
    return jax.tree.map(np.asarray, progress._replace(state=state))


def names(folder):
    """Returns the names in a run's folder and of its figures; checkpoints are counted."""
    assert len(list((folder / "checkpoints").iterdir())) == 1
    return {path.relative_to(folder) for path in [*folder.iterdir(), *folder.glob("figures/*")]}
