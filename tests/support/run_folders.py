"""Runs in processes of their own, and what is in the folders that they leave."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
from killed_run import EPOCHS, TASK

import gru_jax as gj
from gru_jax.app import problem as problems
from gru_jax.app import settings

CHILD = Path(__file__).with_name("killed_run.py")


def start(environment, folder, *args):
    """Starts `killed_run.py`; its output and its errors are one stream."""
    args = [sys.executable, CHILD, folder, *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(args, env=environment, text=True, **pipes)


def bytes_of(folder):
    """Returns the content of all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def count_epochs(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def check_same(folder, whole, epochs=EPOCHS):
    """Asserts that two finished runs have the same bits but for times."""
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
    return {name: value for name, value in row.items() if name not in ("seconds", "waiting")}


@functools.cache
def load(folder):
    """Returns all arrays of a checkpoint; keys as numbers."""
    _, config = settings.read_config(folder)
    like = problems.init_progress(problems.make_problem(TASK, config))
    progress = gj.load_checkpoint(folder / "checkpoints", like)
    state = progress.state._replace(key=jax.random.key_data(progress.state.key))
    return jax.tree.map(np.asarray, progress._replace(state=state))


def names(folder):
    """Returns the names in a run's folder and of its figures; checkpoints are counted."""
    assert len(list((folder / "checkpoints").iterdir())) == 1
    return {path.relative_to(folder) for path in [*folder.iterdir(), *folder.glob("figures/*")]}
