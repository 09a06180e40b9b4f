"""`gru-jax train classify --data FILE`, from a file to answers."""

import csv
import dataclasses
import json
from typing import get_args, get_type_hints

import chex
import jax
import numpy as np
import pytest
import waves

from gru_jax import interop
from gru_jax.app import inference, runs
from gru_jax.app import problem as problems
from gru_jax.app.cli import main
from gru_jax.app.commands import parse
from gru_jax.app.tasks.classify import CLASSIFY, ClassifyConfig
from gru_jax.app.tasks.config import FREE

LEARNING = [*waves.SMALL, "--hidden", "16", "--epochs", "12", "--learning-rate", "0.02"]


def train(path, folder, *more):
    return main(["train", "classify", "--data", str(path), "--out", str(folder), *more])


def arrays(folder):
    return interop.load(folder / "best.safetensors")[1]


def answers(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Waves with gaps in a CSV, and a run that has learned them."""
    folder = tmp_path_factory.mktemp("waves")
    path = waves.write(folder, "csv", *waves.draw(np.random.default_rng(0), 60, gaps=0.1))
    assert train(path, folder / "run", *LEARNING) == 0
    return path, folder / "run"


def test_waves_in_a_csv_are_learned_in_seconds(run):
    result = json.loads((run[1] / "result.json").read_text())
    assert result["test_accuracy"] > 0.9
    assert result["test_accuracy_most_frequent_class"] == 0.5
    assert np.sum(result["confusion_matrix"]) == 12
    facts = inference.load_trained(run[1]).facts
    assert facts["title"] == "waves.csv"
    assert facts["classes"] == ["sine", "square"]
    assert facts["masked"] == ["c0", "c1"]


def test_what_training_says_of_the_data(run, tmp_path, capsys):
    assert train(run[0], tmp_path / "x", *waves.SMALL, "--epochs", "1") == 0
    text = capsys.readouterr().out
    assert "waves.csv: which of 2 classes?" in text
    assert "38 train, 10 validation, 12 test sequences of 2 channels" in text
    assert "19 sine, 19 square in training" in text
    assert "20% of each class, drawn by seed 0" in text
    xs, _ = waves.draw(np.random.default_rng(0), 60, gaps=0.1)
    missing = int(np.isnan(np.stack(xs)).sum())
    assert f"{missing} of 2,880 values, in c0, c1; a mask each for c0, c1" in text
    assert "most frequent class" in text
    assert "Also: balanced accuracy" in text


def test_predict_and_evaluate_agree_on_a_file_and_labels_are_optional(run, tmp_path, capsys):
    path, folder = run
    assert main(["evaluate", str(folder), "--input", str(path)]) == 0
    printed = capsys.readouterr().out
    written = tmp_path / "out.csv"
    args = ["predict", str(folder), "--output", str(written), "--input"]
    assert main([*args, str(path)]) == 0
    rows, (xs, labels) = answers(written), waves.draw(np.random.default_rng(0), 60, gaps=0.1)
    assert list(rows[0]) == ["sequence", "label", "p_sine", "p_square"]
    assert [row["sequence"] for row in rows] == [f"case {i}" for i in range(60)]
    right = np.mean([row["label"] == label for row, label in zip(rows, labels, strict=True)])
    assert right > 0.9
    assert f"GRU (this run)         {right:6.1%}" in printed
    assert main([*args, str(waves.write_without_labels(tmp_path / "new.csv", xs))]) == 0
    assert answers(written) == rows
    assert main(["evaluate", str(folder), "--input", str(tmp_path / "new.csv")]) == 2
    assert "--input must hold each sequence's class, got" in capsys.readouterr().err


def test_a_trained_run_becomes_another_framework_s_file(run, tmp_path):
    net, params = interop.load(run[1] / "best.safetensors")
    assert main(["convert", str(run[1]), str(tmp_path / "first.onnx"), "--name", "1"]) == 0
    assert main(["convert", str(run[1]), str(tmp_path / "net.safetensors")]) == 0
    again, same = interop.load(tmp_path / "net.safetensors")
    assert again.architecture == net.architecture
    chex.assert_trees_all_equal(same, params)


@pytest.mark.slow("draws figures")
def test_explain_looks_at_sequences_with_masks_and_names_the_channels(run, monkeypatch, capsys):
    from gru_jax import plot

    seen, gates = [], plot.gates

    def record(trace, ax, *, inputs):
        seen.append(inputs)
        return gates(trace, ax, inputs=inputs)

    monkeypatch.setattr(plot, "gates", record)
    assert main(["explain", str(run[1])]) == 0
    assert seen == [("c0", "c1", "c0 observed", "c1 observed")] * 2
    assert main(["explain", str(run[1]), "--input", str(run[0])]) == 0
    assert "60 of 60" not in capsys.readouterr().out


@pytest.mark.slow("trains four networks")
def test_the_same_data_in_any_file_give_the_same_bits(tmp_path, rng):
    xs, labels = waves.draw(rng, 16)
    for kind in ("csv", "ts", "arff", "npz"):
        path = waves.write(tmp_path, kind, xs, labels)
        assert train(path, tmp_path / kind, *waves.SMALL) == 0
    for kind in ("ts", "arff", "npz"):
        chex.assert_trees_all_equal(arrays(tmp_path / kind), arrays(tmp_path / "csv"))


@pytest.mark.slow("trains two networks")
def test_a_run_goes_on_from_another_folder_to_the_same_bits(tmp_path, rng, monkeypatch):
    waves.write(tmp_path, "csv", *waves.draw(rng, 16, gaps=0.1))
    monkeypatch.chdir(tmp_path)
    flags = [*waves.SMALL, "--channels", "c1", "c0"]
    assert train("waves.csv", "whole", *flags) == 0
    command = parse(["train", "classify", "--data", "waves.csv", *flags])
    part, _ = runs.begin(tmp_path / "part", CLASSIFY, command.config)
    calls = iter(range(9))
    assert runs.train(part, lambda _: None, lambda: next(calls) == 1)[1] == "stopped"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--resume", "--out", "../part"]) == 0
    assert main(["train", "classify", "--resume", "--out", "../part", "--epochs", "3"]) == 0
    chex.assert_trees_all_equal(arrays(tmp_path / "part"), arrays(tmp_path / "whole"))
    rows = [
        [json.loads(line)["loss"] for line in (tmp_path / each).read_text().splitlines()]
        for each in ("part/metrics.jsonl", "whole/metrics.jsonl")
    ]
    assert rows[0] == rows[1]
    assert json.loads((tmp_path / "part/config.json").read_text())["data"] == str(
        tmp_path / "waves.csv"
    )


def test_a_number_is_predicted_in_its_units(tmp_path, rng):
    xs, _ = waves.draw(rng, 40)
    labels = [f"{1000 + 5 * x[:, 1].mean():.4f}" for x in xs]
    path = waves.write(tmp_path, "csv", xs, labels)
    assert train(path, tmp_path / "run", *LEARNING) == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    trained = inference.load_trained(tmp_path / "run")
    test = CLASSIFY.load(trained.config).test
    errors = inference.predict(trained, test)[:, 0].astype(float) - test.targets
    assert result["test_mse"] == pytest.approx(np.mean(errors**2), rel=1e-3)
    assert result["test_mae"] == pytest.approx(np.mean(abs(errors)), rel=1e-3)
    assert result["test_rmse"] == result["test_mse"] ** 0.5
    assert result["test_mse"] < 0.5 * result["test_mse_training_mean"]
    written = tmp_path / "out.csv"
    args = ["--input", str(path), "--output", str(written)]
    assert main(["predict", str(tmp_path / "run"), *args]) == 0
    rows = answers(written)
    assert list(rows[0]) == ["sequence", "value_0"]
    assert all(990 < float(row["value_0"]) < 1010 for row in rows)


def test_whole_numbers_are_classes_unless_a_flag_says_otherwise(tmp_path, rng):
    xs, _ = waves.draw(rng, 12)
    path = waves.write(tmp_path, "csv", xs, [str(i % 3) for i in range(12)])
    for flag in (False, True):
        config = ClassifyConfig(data=str(path), regression=flag)
        parts = CLASSIFY.load(config)
        assert parts.train.classes == (() if flag else ("0", "1", "2"))
        assert parts.train.targets.dtype == (float if flag else np.int32)
        assert [len(part.xs) for part in parts] == ([8, 2, 2] if flag else [6, 3, 3])


def test_without_a_file_it_is_the_default_problem(capsys):
    assert parse(["train", "classify", "--seed", "3"]) == parse(["train", "--seed", "3"])
    assert str(parse(["train", "classify", "--data", "a.csv"]).out) == "runs/classify"
    assert main(["train", "classify", "--label", "kind"]) == 2
    message = "gru-jax: train: --label must go with --data FILE, got it alone.\n"
    assert capsys.readouterr().err == message


def test_what_may_change_alters_neither_the_parameters_nor_the_outputs(run):
    small = {"hidden": 3, "layers": 1}
    config = ClassifyConfig(data=str(run[0]), **small)
    problem = problems.make_problem(CLASSIFY, config)
    params = problems.init_progress(problem).state.params
    row = problems.measure(problem.with_params(params), problem.validation)
    hints = get_type_hints(ClassifyConfig, include_extras=True)
    free = {name for name, hint in hints.items() if FREE in get_args(hint)}
    assert "class_weights" in free
    new = dataclasses.replace(config, class_weights="balanced", noise=0.5, dropout=0.2, batch=9)
    changed = problems.make_problem(CLASSIFY, new)
    chex.assert_trees_all_equal(problems.init_progress(changed).state.params, params)
    assert problems.measure(changed.with_params(params), changed.validation) == row
    assert changed.facts == problem.facts


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_the_model_s_size_is_a_word_unless_numbers_are_given(run, name):
    facts = inference.load_trained(run[1]).facts
    hidden, layers = {"small": (32, 1), "medium": (64, 2), "large": (128, 3)}[name]
    for flags, size in (
        ({}, (hidden, layers)),
        ({"hidden": 5}, (5, layers)),
        ({"layers": 4}, (hidden, 4)),
    ):
        net = CLASSIFY.make_net(ClassifyConfig(model=name, **flags), facts)
        shapes = jax.eval_shape(lambda net=net: net.init(jax.random.key(0), 4))
        head = [layer for layer in shapes if jax.tree.leaves(layer)]
        assert head[-1].W.shape == (2 * size[0], 2)
        assert len(head) == size[1] + 1
