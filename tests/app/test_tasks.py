"""Any task goes through the same code: two that are made up, one with classes and one without."""

import csv
import dataclasses
import io
import json
import shutil
from typing import Annotated, Literal

import jax
import numpy as np
import pytest
from made_up_tasks import EPOCHS, SIGN, SUM, SumConfig, add
from refusals import refused

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import explain, inference, runs
from gru_jax.app.cli import main
from gru_jax.app.tasks.config import Range, check, from_json
from gru_jax.app.tasks.table import TASKS
from gru_jax.app.tasks.task import Parts


@pytest.fixture(autouse=True)
def _known():
    with pytest.MonkeyPatch.context() as patch:
        for task in (SUM, SIGN):
            add(patch, task)
        yield


@pytest.fixture(scope="module", params=["sum", "sign"])
def run(request, tmp_path_factory):
    """A run of each, made by the command; its task's name and its folder."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    with pytest.MonkeyPatch.context() as patch:
        for task in (SUM, SIGN):
            add(patch, task)
        assert main(["train", request.param, "--out", str(folder)]) == 0
    return {"sum": SUM, "sign": SIGN}[request.param], folder


def read_rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_learns_and_says_what_it_is(run, tmp_path, capsys):
    task, folder = run
    rows = read_rows(folder)
    assert len(rows) == EPOCHS
    monitored = [row[f"validation_{task.goal({}).monitor}"] for row in rows]
    best = max(monitored) if task.goal({}).mode == "max" else min(monitored)
    result = json.loads((folder / "result.json").read_text())
    assert result[f"validation_{task.goal({}).monitor}"] == best
    assert result["best_epoch"] == EPOCHS - monitored[::-1].index(best)
    assert rows[-1]["loss"] < 0.85 * rows[0]["loss"]
    assert ("confusion_matrix" in result) == bool(task.goal({}).classes)
    drawn = {path.name for path in (folder / "figures").glob("*n*.png")}
    assert {"learning_curves.png"} <= drawn
    assert main(["train", task.name, "--out", str(tmp_path / "x"), "--epochs", "1"]) == 0
    text = capsys.readouterr().out
    assert "the sum of 64 sequences" in text
    assert f"Test {task.goal({}).monitor} on {task.goal({}).title}" in text


def test_the_best_parameters_are_a_file_that_needs_nothing_else(run):
    """The oracle is the net, built here, and the test set's own sums."""
    task, folder = run
    net, params = interop.load(folder / "best.safetensors")
    assert net.architecture == task.make_net(SumConfig(), {}).architecture
    parts = task.load(SumConfig())
    scale = np.float32(np.concatenate(parts.train.xs).std())
    ys = np.stack([np.asarray(net.apply(params, x / scale)[0]) for x in parts.test.xs])
    result = json.loads((folder / "result.json").read_text())
    if task.goal({}).classes:
        right = (ys[:, 1] > ys[:, 0]) == parts.test.targets
        assert result["test_hits"] == pytest.approx(right.mean())
        assert np.trace(result["confusion_matrix"]) == right.sum()
    else:
        sums = [x[:, 0].sum() for x in parts.test.xs]
        assert result["test_loss"] == pytest.approx(np.mean((ys[:, 0] - sums) ** 2), rel=1e-4)
    settings = json.loads(interop.load_metadata(folder / "best.safetensors")["settings"])
    assert settings == json.loads((folder / "config.json").read_text())


@pytest.mark.slow("trains a network")
def test_using_a_run_needs_no_net_from_the_task(run, tmp_path, monkeypatch, capsys):
    task, folder = run

    def fail(*_):
        raise AssertionError("the net is built again")

    monkeypatch.setitem(TASKS, task.name, task._replace(make_net=fail))
    np.savez(tmp_path / "in.npz", a=np.ones((3, 2)), b=-np.ones((5, 2)))
    assert main(["evaluate", str(folder)]) == 0
    assert main(["predict", str(folder), "--input", str(tmp_path / "in.npz")]) == 0
    assert main(["inspect", str(folder)]) == 0
    assert main(["convert", str(folder), str(tmp_path / "out.safetensors")]) == 0
    assert main(["explain", str(folder), "--input", str(tmp_path / "in.npz")]) == 0
    assert f"Test {task.goal({}).monitor} on {task.goal({}).title}" in capsys.readouterr().out


@pytest.mark.slow("trains a network")
def test_a_run_goes_on_to_the_same_bits(run, tmp_path):
    task, folder = run
    out = tmp_path / "x"
    config = SumConfig()
    part, _ = runs.begin(out, task, config)
    calls = iter(range(100))
    _, reason = runs.train(part, lambda _: None, lambda: next(calls) == 3)
    assert reason == "stopped"
    assert main(["train", "--resume", "--out", str(out)]) == 0
    losses = [[row["loss"] for row in read_rows(each)] for each in (folder, out)]
    assert losses[0] == losses[1]
    best = [interop.load(each / "best.safetensors")[1] for each in (folder, out)]
    for one, other in zip(*map(jax.tree.leaves, best), strict=True):
        np.testing.assert_array_equal(one, other)


def test_predict_prints_classes_or_values(run, tmp_path, capsys):
    task, folder = run
    test = task.load(SumConfig()).test
    np.savez(tmp_path / "in.npz", **{f"s{i}": x for i, x in enumerate(test.xs)})
    assert main(["predict", str(folder), "--input", str(tmp_path / "in.npz")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    answers = inference.predict(inference.load_trained(folder), test)
    assert [row.pop("sequence") for row in rows] == [f"s{i}" for i in range(20)]
    if task.goal({}).classes:
        labels = [row.pop("label") for row in rows]
        assert labels == [task.goal({}).classes[i] for i in answers.argmax(-1)]
        assert rows[0].keys() == {"p_minus", "p_plus"}
    else:
        assert rows[0].keys() == {"value_0"}
    values = np.array([[float(value) for value in row.values()] for row in rows])
    np.testing.assert_allclose(values, answers, rtol=1e-5, atol=1e-6)


@pytest.mark.slow("traces three layers")
def test_explain_looks_into_a_layer_of_one_direction(run, capsys):
    """The gradient of the last state is that of the head, a product with its weights."""
    task, folder = run
    trained = inference.load_trained(folder)
    test = task.load(SumConfig()).test
    direction = "backward" if task.goal({}).classes else "forward"
    (found,), _ = explain.inspect(trained, test)
    assert (found.layer, found.direction) == (1, direction)
    W = np.asarray(trained.params[-1].W, float)
    xs, lengths = gj.pad(task.prepare(trained.facts, test).xs)
    ys = np.asarray(trained.net.apply(trained.params, xs, lengths=lengths)[0], float)
    if task.goal({}).classes:
        slopes = np.exp(ys) / np.exp(ys).sum(-1, keepdims=True) - np.eye(2)[test.targets]
    else:
        slopes = 2 * (ys - test.targets)
    norms = np.linalg.norm(slopes @ W.T, axis=-1)
    last = [len(x) - 1 for x in test.xs]
    np.testing.assert_allclose(found.gradients[np.arange(20), last], norms, rtol=1e-3)
    if direction == "backward":  # It begins at the last step, and what follows is not pooled.
        assert float(found.gradients.sum()) == pytest.approx(norms.sum(), rel=1e-3)
    assert main(["explain", str(folder)]) == 0
    assert f"1 {direction}" in capsys.readouterr().out


@pytest.mark.slow("trains a network")
def test_explain_refuses_a_cell_with_two_states_by_its_name(tmp_path, monkeypatch, capsys):
    def make_net(*_):
        return gj.stack(gj.recurrent(gj.lstm(4)), gj.pool("last"), gj.dense(1))

    monkeypatch.setitem(TASKS, "sum", SUM._replace(make_net=make_net))
    assert main(["train", "sum", "--epochs", "1", "--out", str(tmp_path / "x")]) == 0
    assert main(["explain", str(tmp_path / "x")]) == 2
    message = "explain: net must have cells whose state is one array, as a GRU's, got lstm(4)."
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["auto", "xla"])
def test_any_net_says_which_code_runs_it(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("GRU_JAX_BACKEND", backend)
    run, _ = runs.begin(tmp_path / "x", SUM, SumConfig())
    assert ("the compiled kernel" in run.problem.recurrence) == (backend == "auto")
    held = gj.stack(gj.recurrent(gj.gru(3), zoneout=0.1), gj.pool("last"), gj.dense(1))
    task = SUM._replace(make_net=lambda *_: held)
    run, _ = runs.begin(tmp_path / "y", task, SumConfig())
    assert run.problem.recurrence.startswith("XLA's loops")


def test_a_net_that_cannot_be_saved_is_refused_before_training(tmp_path):
    cell = gj.gru(3, activation=lambda x: x)
    net = gj.stack(gj.recurrent(cell), gj.pool("last"), gj.dense(1))
    with pytest.raises(ValueError, match=r"^train: make_net of sum must build a net that can be"):
        runs.begin(tmp_path / "x", SUM._replace(make_net=lambda *_: net), SumConfig())
    assert not list(tmp_path.iterdir())


def test_settings_of_a_task_s_own_are_checked_and_suggested(capsys):
    assert main(["train", "sum", "--hidden", "1000"]) == 2
    assert "train: --hidden must be a whole number from 1 to below 100, got 1000." in (
        capsys.readouterr().err
    )
    assert main(["train", "sum", "--noise", "1"]) == 2
    assert "train: no option --noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": True}, "epochs must be a whole number from 1 to below 1000, got True."),
        ({"epochs": 2.0}, "epochs must be a whole number from 1 to below 1000, got 2.0."),
        ({"learning_rate": 1}, "learning_rate must be a number from 0 to below 1, got 1."),
        ({"form": "both"}, "form must be one of before, after, got 'both'."),
        ({"form": None}, "form must be one of before, after, got None."),
        ({"wide": 1}, "wide must be a bool, got 1."),
        ({"note": 3}, "note must be a str, got 3."),
        ({"file": 3}, "file must be a str, got 3."),
        ({"levels": [80]}, "levels must be a tuple, got [80]."),
        (
            {"levels": (80, 100)},
            "levels must be a whole number from 1 to below 100, got (80, 100).",
        ),
    ],
)
def test_a_setting_of_another_type_is_refused(changes, message):
    @dataclasses.dataclass(frozen=True)
    class Mixed(SumConfig):
        form: Literal["before", "after"] = "after"
        wide: bool = False
        note: str = ""
        file: str | None = None
        levels: Annotated[tuple[int, ...], Range(1, 100)] = (80, 95)

    assert check(Mixed(learning_rate=0)) == Mixed(learning_rate=0)
    with refused(f"train: {message}"):
        check(Mixed(**changes))
    mixed = Mixed(file="x", levels=(50,))
    assert from_json(Mixed, json.loads(json.dumps(dataclasses.asdict(mixed)))) == mixed


def test_a_run_of_one_task_is_not_resumed_as_another(run, capsys):
    task, folder = run
    other = "sign" if task is SUM else "sum"
    assert main(["train", other, "--resume", "--out", str(folder)]) == 2
    message = f"train: TASK must be {task.name}, as the run began, got {other}."
    assert message in capsys.readouterr().err


@pytest.mark.slow("trains a network")
def test_a_run_does_not_go_on_with_other_data(run, tmp_path, monkeypatch, capsys):
    task, folder = run
    shutil.copytree(folder, tmp_path / "x")

    def load(config):
        train, *rest = task.load(config)
        return Parts(train._replace(xs=[2 * x for x in train.xs]), *rest)

    monkeypatch.setitem(TASKS, task.name, task._replace(load=load))
    assert main(["train", "--resume", "--out", str(tmp_path / "x"), "--epochs", "20"]) == 2
    message = f"train: the data must be those that {tmp_path / 'x'} began with, but they have other"
    assert f"{message} scale now." in capsys.readouterr().err
