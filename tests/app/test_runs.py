"""Runs that train, stop, crash, go on and end, and what they leave in their folders."""

import fcntl
import importlib.util
import json
import os

import jax
import numpy as np
import pytest

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import inference, outcome, runs, settings
from gru_jax.app import problem as problems
from gru_jax.app.tasks.japanese_vowels import JAPANESE_VOWELS, VowelsConfig
from gru_jax.kernels.cpu import library

CONFIG = VowelsConfig(hidden=16, layers=1, epochs=12, learning_rate=1e-2, noise=0.3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run of 12 epochs, as the command makes it."""
    run, _ = runs.begin(tmp_path_factory.mktemp("runs") / "x", JAPANESE_VOWELS, CONFIG)
    run, ended = runs.train(run, lambda _: None, lambda: False)
    assert ended == "epochs"
    result, figures = outcome.finish(run)
    return run, result, figures


def test_a_short_run_learns(finished):
    _, result, _ = finished
    assert result["test_accuracy"] > 0.9
    assert result["validation_accuracy"] > 0.9


def test_the_result_is_that_of_the_best_parameters_on_standardised_data(finished):
    run, result, _ = finished
    train, test = gj.load_japanese_vowels()
    rest, _ = gj.split(train, CONFIG.validation, seed=CONFIG.seed)
    mean, std = np.concatenate(rest.xs).mean(0), np.concatenate(rest.xs).std(0)
    xs, lengths = gj.pad([(x - mean) / std for x in test.xs])
    net = gj.stack(gj.bidirectional(gj.gru(16)), gj.pool("mean"), gj.dense(9))
    params = [run.progress.best_params[i] for i in (1, 2, 4)]  # without noise and dropout
    logits, _ = net.apply(tuple(params), xs, lengths=lengths)
    right = np.argmax(logits, -1) == test.targets
    assert result["test_accuracy"] == pytest.approx(right.mean())
    probabilities = inference.predict(inference.load_trained(run.folder), test)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, shares, atol=1e-5)


@pytest.mark.slow("trains a network")
@pytest.mark.parametrize(
    ("backend", "missing", "said"),
    [
        ("auto", None, "the compiled kernel"),
        ("cpu", None, "the compiled kernel"),
        ("xla", None, "XLA's loops: the variable GRU_JAX_BACKEND says so"),
        ("auto", "The kernel is not here.", "XLA's loops: The kernel is not here"),
    ],
)
def test_a_run_says_which_code_its_recurrences_are(tmp_path, monkeypatch, backend, missing, said):
    monkeypatch.setenv("GRU_JAX_BACKEND", backend)
    jax.clear_caches()  # Programs of other cases.
    if missing:
        monkeypatch.setattr(library, "reason", lambda: missing)
    config = VowelsConfig(hidden=4, layers=1, epochs=1)
    run, _ = runs.begin(tmp_path / "x", JAPANESE_VOWELS, config)
    assert run.problem.recurrence == said
    batches = next(gj.make_batches(run.problem.train, config.batch))
    program = problems.make_loop(run.problem).lower(run.progress.state, batches).as_text()
    assert [f"gru_jax_{way}" in program for way in ("forward", "backward")] == [
        said == "the compiled kernel"
    ] * 2


def test_a_run_that_asks_for_a_kernel_that_is_not_there_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setenv("GRU_JAX_BACKEND", "cpu")
    monkeypatch.setattr(library, "reason", lambda: "The kernel is not here.")
    with pytest.raises(ValueError, match=r"^recurrent: the variable GRU_JAX_B.* not here"):
        runs.begin(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    assert not list(tmp_path.iterdir())


def test_finish_tests_the_best_parameters_not_the_last(finished, tmp_path):
    run, result, _ = finished
    untrained = problems.init_progress(run.problem)._replace(best_epoch=1)
    other, _ = outcome.finish(run._replace(folder=tmp_path, progress=untrained))
    assert other["test_accuracy"] < 0.5 < result["test_accuracy"]


def test_the_settings_reach_the_training_loss(finished):
    run, _, _ = finished
    (batch,) = gj.make_batches(run.problem.train, 300)
    one = gj.Batch(*(a[0] for a in batch))
    key = run.progress.state.key

    def loss(**changes):
        config = VowelsConfig(**(CONFIG.__dict__ | changes))
        net = JAPANESE_VOWELS.make_net(config, run.problem.facts)
        loss_fn = problems.make_loss(run.problem._replace(config=config, net=net))
        return float(loss_fn(run.progress.best_params, (), one, key)[0])

    plain = {"noise": 0.0, "dropout": 0.0, "label_smoothing": 0.0}
    train = run.problem.train
    xs, lengths = gj.pad(train.xs)
    logits, _ = run.problem.net.apply(run.progress.best_params, xs, lengths=lengths)
    nats = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(train.xs)), train.targets]
    assert loss(**plain) == pytest.approx(float(nats.mean()), rel=1e-4)
    values = [loss(**plain), *(loss(**(plain | {k: getattr(CONFIG, k)})) for k in plain)]
    assert len({round(value, 4) for value in values}) == 4


class Crash(Exception):
    """Stands in for a process that dies."""


@pytest.mark.slow("runs the whole command")
def test_after_a_crash_the_run_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "SAVE_EVERY", 0.0)
    whole, _, _ = finished
    run, _ = runs.begin(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    calls = iter(range(100))

    def crash():
        if next(calls) == 7:
            raise Crash

    with pytest.raises(Crash):
        runs.train(run, lambda _: None, crash)
    with (tmp_path / "x" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 8, "lo')  # as a torn write leaves it
    run = runs.reopen(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    assert run.progress.epoch == len(run.rows) == 7
    run, _ = runs.train(run, lambda _: None, lambda: False)
    weights = [np.asarray(r.progress.state.params[1].forward.W_r) for r in (run, whole)]
    np.testing.assert_array_equal(*weights)
    assert [row["loss"] for row in run.rows] == [row["loss"] for row in whole.rows]


@pytest.mark.slow("runs the whole command")
def test_a_prolonged_run_that_is_interrupted_remembers_how_long_it_was_to_be(tmp_path):
    short = VowelsConfig(**(CONFIG.__dict__ | {"epochs": 2, "hidden": 4}))
    run, _ = runs.begin(tmp_path / "x", JAPANESE_VOWELS, short)
    runs.train(run, lambda _: None, lambda: False)
    longer = VowelsConfig(**(short.__dict__ | {"epochs": 6}))
    calls = iter(range(100))
    run = runs.reopen(tmp_path / "x", JAPANESE_VOWELS, longer)
    run, ended = runs.train(run, lambda _: None, lambda: next(calls) == 2)
    assert ended == "stopped"
    task, config = settings.read_config(tmp_path / "x")
    assert (task, config) == (JAPANESE_VOWELS, longer)
    again = runs.reopen(tmp_path / "x", task, config)
    run, ended = runs.train(again, lambda _: None, lambda: False)
    assert (ended, len(run.rows)) == ("epochs", 6)


def test_a_run_stopped_before_its_first_epoch_can_go_on(tmp_path):
    run, _ = runs.begin(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    run, ended = runs.train(run, lambda _: None, lambda: True)
    assert ended == "stopped"
    again = runs.reopen(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    assert (again.progress.epoch, again.rows) == (0, [])


def test_two_trainings_do_not_share_a_folder(finished):
    run, _, _ = finished
    handle = os.open(run.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = sorted(run.folder.parent.rglob("*"))
    for act in (
        lambda: runs.begin(run.folder, JAPANESE_VOWELS, CONFIG),
        lambda: runs.reopen(run.folder, JAPANESE_VOWELS, CONFIG),
        lambda: runs.train(run, lambda _: None, lambda: False),
    ):
        with pytest.raises(ValueError, match="must be free, but another process trains there"):
            act()
    os.close(handle)
    assert sorted(run.folder.parent.rglob("*")) == before


@pytest.mark.slow("trains a network")
def test_the_best_parameters_are_written_with_every_checkpoint(tmp_path, monkeypatch):
    """The file is that of the epoch which the rows say was the best so far."""
    monkeypatch.setattr(runs, "SAVE_EVERY", 0.0)
    run, _ = runs.begin(tmp_path / "x", JAPANESE_VOWELS, CONFIG)
    weights, accuracies = [], []

    def report(row):
        if (tmp_path / "x" / "best.safetensors").exists():
            _, params = interop.load(tmp_path / "x" / "best.safetensors")
            weights.append(np.asarray(params[-1].W))
        accuracies.append(row["validation_accuracy"])

    run, _ = runs.train(run, report, lambda: False)
    _, params = interop.load(tmp_path / "x" / "best.safetensors")
    weights.append(np.asarray(params[-1].W))
    np.testing.assert_array_equal(weights[-1], run.progress.best_params[-1].W)
    assert len(weights) == len(accuracies) == CONFIG.epochs
    for i in range(1, CONFIG.epochs):
        better = accuracies[i] >= max(accuracies[:i])
        assert np.array_equal(weights[i], weights[i - 1]) != better


def test_an_old_run_is_moved_aside_too(tmp_path):
    """Its settings may be another version's; it is a run all the same."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "config.json").write_text('{"task": "japanese_vowels", "scale": {}}')
    _, moved = runs.begin(folder, JAPANESE_VOWELS, CONFIG)
    assert moved == tmp_path / "x.1"
    assert (moved / "config.json").read_text().endswith('"scale": {}}')


def test_a_folder_that_only_looks_like_a_run_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="must be empty, new, or a run"):
        runs.begin(tmp_path, JAPANESE_VOWELS, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["", "3\n4\n", '{"epoch": 1}\n' * 12, None])
def test_metrics_that_do_not_fit_the_checkpoint_are_one_clear_error(finished, tmp_path, text):
    run, _, _ = finished
    for name in ("checkpoints", "config.json"):
        (tmp_path / name).symlink_to(run.folder / name)
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.jsonl must have a JSON object for each epoch"):
        runs.reopen(tmp_path, JAPANESE_VOWELS, CONFIG)


def test_without_matplotlib_a_run_ends_without_figures(finished, monkeypatch):
    run, _, figures = finished
    assert [path.name for path in figures] == ["learning_curves.png", "confusion_matrix.png"]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    result, none = outcome.finish(run)
    assert none == []
    assert json.loads((run.folder / "result.json").read_text()) == result
