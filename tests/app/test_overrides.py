"""`--override`: a run goes on with other settings of training, never with other data or nets."""

import dataclasses
import json
from typing import get_args, get_type_hints

import chex
import forecast_files
import numpy as np
import pytest
import small_pieces
import small_texts
import waves
from killed_run import TASK
from run_folders import bytes_of, read_rows

import gru_jax as gj
from gru_jax.app import inference, runs, settings
from gru_jax.app import problem as problems
from gru_jax.app.cli import main
from gru_jax.app.tasks.config import FREE
from gru_jax.app.tasks.table import TASKS

pytestmark = pytest.mark.usefixtures("_random_task")
CONFIG = TASK.Config(epochs=6, patience=999, hidden=4)


def train(folder, *more):
    flags = ["--patience", "999", "--hidden", "4"] * ("--resume" not in more)
    return main(["train", TASK.name, "--out", str(folder), *flags, *more])


@pytest.fixture
def halted(tmp_path):
    """A run of six epochs that was stopped after three."""
    run, _ = runs.begin(tmp_path / "x", TASK, CONFIG)
    calls = iter(range(9))
    _, reason = runs.train(run, lambda _: None, lambda: next(calls) == 3)
    assert reason == "stopped"
    return tmp_path / "x"


def test_an_override_is_used_from_there_on_and_written_down(halted):
    """As `fit` does with the other optimiser from the same progress."""
    changed = dataclasses.replace(CONFIG, learning_rate=0.1, batch=4)
    problem = problems.make_problem(TASK, changed)
    saved = gj.load_checkpoint(halted / "checkpoints", problems.init_progress(problem))
    expected, _ = problems.train(problem, problems.make_loop(problem), saved)
    assert train(halted, "--resume", "--override", "--learning-rate", "0.1", "--batch", "4") == 0
    actual = gj.load_checkpoint(halted / "checkpoints", saved)
    chex.assert_trees_all_equal(actual.state.params, expected.state.params)
    chex.assert_trees_all_equal(actual.state.opt_state, expected.state.opt_state)
    assert actual.state.step == 3 * 8 + 3 * 16
    marks = [{k: v for k, v in row.items() if "changed" in k} for row in read_rows(halted)]
    numbers = {"changed_learning_rate": 0.1, "changed_batch": 4}
    assert marks == [{}, {}, {}, numbers, {}, {}]
    config = json.loads((halted / "config.json").read_text())
    assert (config["learning_rate"], config["batch"]) == (0.1, 4)
    assert config["changes"] == [{"epoch": 3, "learning_rate": 0.1, "batch": 4}]
    assert settings.read_config(halted) == (TASK, changed)
    assert inference.load_trained(halted).config == changed


def test_an_override_is_remembered_by_a_run_that_then_stops(halted):
    """Also where it stops before its next epoch; another one follows."""
    for rate in (0.1, 0.2):
        changed = dataclasses.replace(CONFIG, learning_rate=rate)
        run = runs.reopen(halted, TASK, changed)
        runs.train(run, lambda _: None, lambda: True)
    assert train(halted, "--resume", "--epochs", "7") == 0
    rows = read_rows(halted)
    assert [row.get("changed_learning_rate") for row in rows] == [None] * 3 + [0.2] + [None] * 3
    changes = json.loads((halted / "config.json").read_text())["changes"]
    assert changes == [{"epoch": 3, "learning_rate": 0.1}, {"epoch": 3, "learning_rate": 0.2}]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning-rate", "0.1"], "--learning-rate must be 0.02, as the run began, got 0.1; "),
        (["--override", "--hidden", "5"], "but --hidden 5 changes them."),
        (["--override", "--seed", "1", "--batch", "4"], "but --seed 1 changes them."),
        (["--override", "--epochs", "5"], "--epochs must be at least 6, got 5."),
    ],
)
def test_what_may_not_change_is_one_line_and_nothing_is_written(halted, capsys, flags, message):
    before = bytes_of(halted)
    assert train(halted, "--resume", *flags) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert bytes_of(halted) == before


def _write_songs(folder):
    return {"data": str(small_pieces.write(folder / "songs.mat", small_pieces.PARTS))}


def _write_text(folder):
    small_texts.write_text(folder / "text.txt")
    return {"data": str(folder / "text.txt"), "batch": 3, "chunk": 16, "embed": 4}


def _write_waves(folder):
    return {"data": str(waves.write(folder, "csv", *waves.draw(np.random.default_rng(0))))}


def _write_sales(folder):
    rows = forecast_files.make_rows(np.random.default_rng(3))
    columns = {"id": "place", "time": "day", "target": ("sales",), "future": ("promo",)}
    path = forecast_files.write_rows(folder / "sales.csv", rows)
    return {"data": str(path), **columns, "horizon": 9, "windows": 3, "model": "small"}


FILES = {
    "classify": _write_waves,
    "forecast": _write_sales,
    "language": _write_text,
    "music": _write_songs,
}
"""Writes a small file for a task; returns the settings that go with it."""


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_what_may_change_alters_neither_the_parameters_nor_the_outputs(task, tmp_path):
    small = {"hidden": 3, "layers": 1, "channels": 3, "sequences": 8, "model": "small"}
    names = {field.name for field in dataclasses.fields(task.Config)}
    small = {name: size for name, size in small.items() if name in names}
    if task.name in FILES:  # whose channels are names
        small = {name: size for name, size in small.items() if name != "channels"}
        small |= FILES[task.name](tmp_path)
    config = task.Config(**small)
    problem = problems.make_problem(task, config)
    params = problems.init_progress(problem).state.params
    row = problems.measure(problem.with_params(params), problem.validation)
    hints = get_type_hints(task.Config, include_extras=True)
    free = {name for name, hint in hints.items() if FREE in get_args(hint)}
    assert {"learning_rate", "weight_decay", "patience"} <= free
    for name in free:
        value = getattr(config, name)
        changed = value + 1 if isinstance(value, int) else "balanced"
        changed = (value + 1) / 3 if isinstance(value, float) else changed
        new = problems.make_problem(task, dataclasses.replace(config, **{name: changed}))
        chex.assert_trees_all_equal(problems.init_progress(new).state.params, params)
        assert problems.measure(new.with_params(params), new.validation) == row


def test_override_alone_is_refused(tmp_path, capsys):
    assert train(tmp_path / "x", "--override") == 2
    assert "train: --override must go with --resume, got it alone." in capsys.readouterr().err
    assert not np.any(list(tmp_path.iterdir()))
