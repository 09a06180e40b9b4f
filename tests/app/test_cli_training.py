"""Training by the command, from first lines to Ctrl-C, and what its runs are good for."""

import csv
import io
import json
import re
import subprocess

import numpy as np
import pytest
from command_line import COMMAND, SMALL, in_terminal

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import inference
from gru_jax.app.cli import main


def test_a_run_is_a_folder(run):
    names = {path.name for path in run.iterdir()}
    files = {"config.json", "metrics.jsonl", "result.json", "best.safetensors"}
    assert names == files | {"checkpoints", "figures"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    result = json.loads((run / "result.json").read_text())
    assert result.keys() >= {"task", "test_accuracy", "parameters", "seconds", "seed"}
    assert result["task"] == "japanese_vowels"
    assert result["parameters"] == 2 * 3 * ((12 + 6) * 6 + 6) + 12 * 9 + 9
    assert np.sum(result["confusion_matrix"]) == 370
    right = np.trace(result["confusion_matrix"])
    assert result["test_accuracy"] == pytest.approx(right / 370)
    for name in ("learning_curves.png", "confusion_matrix.png"):
        assert (run / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_evaluate_finds_what_training_found(run, capsys):
    result = json.loads((run / "result.json").read_text())
    assert main(["evaluate", str(run)]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"GRU \(this run\) +{result['test_accuracy']:.1%}", text)
    assert re.search(r"FCN +99.3% +Fawaz", text)
    expected = []
    for i, row in enumerate(result["confusion_matrix"]):
        wrong = ", ".join(f"{j + 1} ({n}x)" for j, n in enumerate(row) if n and j != i)
        expected += [f"{i + 1}", f"{sum(row)}", f"{row[i] / sum(row):.1%}", *wrong.split()]
    words = text[text.index("taken for") :].split()[2:]
    assert words[: len(expected)] == expected


def test_predict_names_the_speakers_of_a_file(run, tmp_path, capsys):
    _, test = gj.load_japanese_vowels()
    np.savez(tmp_path / "in.npz", **{f"u{i}": x for i, x in enumerate(test.xs)})
    assert main(["predict", str(run), "--input", str(tmp_path / "in.npz")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["sequence"] for row in rows] == [f"u{i}" for i in range(370)]
    shares = np.array([[float(row[f"p_{i}"]) for i in range(1, 10)] for row in rows])
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    labels = [int(row["label"]) for row in rows]
    np.testing.assert_array_equal(labels, shares.argmax(1) + 1)
    result = json.loads((run / "result.json").read_text())
    accuracy = np.mean(np.array(labels) - 1 == test.targets)
    assert accuracy == pytest.approx(result["test_accuracy"])
    written = tmp_path / "out.csv"
    files = ["--input", str(tmp_path / "in.npz"), "--output", str(written)]
    assert main(["predict", str(run), *files]) == 0
    assert str(written) in capsys.readouterr().out
    assert list(csv.DictReader(io.StringIO(written.read_text()))) == rows
    assert main(["evaluate", str(run), "--input", str(tmp_path / "in.npz")]) == 2
    message = "evaluate: --input must hold each utterance's speaker, got"
    assert message in capsys.readouterr().err
    lines = ["sequence," + ",".join(f"c{i}" for i in range(12))]
    lines += [f"u{i}," + ",".join(map(str, x)) for i in (0, 1) for x in test.xs[i].tolist()]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    assert main(["predict", str(run), "--input", str(tmp_path / "in.csv")]) == 0
    two = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in two] == [row["label"] for row in rows[:2]]
    for row, same in zip(two, rows, strict=False):
        # Two sequences are padded, and so summed, otherwise than 370: the last of six digits.
        for name in row:
            if name.startswith("p_"):
                assert float(row[name]) == pytest.approx(float(same[name]), abs=2e-6)


@pytest.mark.parametrize("columns", [60, 80])
def test_predictions_are_a_table_in_a_terminal(run, tmp_path, columns):
    _, test = gj.load_japanese_vowels()
    names = [f"a_rather_long_name_of_a_sequence_{i}" for i in range(3)]
    np.savez(tmp_path / "in.npz", **dict(zip(names, test.xs, strict=False)))
    args = ["predict", str(run), "--input", "in.npz"]
    code, text = in_terminal(args, tmp_path, columns=columns)
    assert code == 0
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= columns
    probabilities = inference.predict(inference.load_trained(run), gj.take(test, np.arange(3)))
    rows = [re.findall(r" (\d) +(\d+)%  ", line) for line in lines]
    likeliest = [(str(np.argmax(p) + 1), f"{p.max() * 100:.0f}") for p in probabilities]
    assert [row[0] for row in rows if row] == likeliest


@pytest.mark.slow("trains a network")
def test_an_earlier_run_is_moved_aside_not_overwritten(tmp_path, capsys):
    folder = tmp_path / "runs" / "x"
    for _ in range(3):
        assert main(["train", "--out", str(folder), *SMALL, "--epochs", "1"]) == 0
    assert {path.name for path in folder.parent.iterdir()} == {"x", "x.1", "x.2"}
    assert "is now" in capsys.readouterr().out


@pytest.mark.slow("trains a network")
def test_the_same_seed_gives_the_same_bits_and_another_does_not(run, tmp_path):
    for seed, same in (("0", True), ("1", False)):
        again = tmp_path / seed
        assert main(["train", "--out", str(again), *SMALL, "--seed", seed]) == 0
        assert (losses(again) == losses(run)) is same


def losses(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["loss"], row["validation_loss"]) for row in rows]


@pytest.mark.slow("trains a network")
def test_a_finished_run_goes_on_with_more_epochs(run, tmp_path):
    folder = tmp_path / "x"
    assert main(["train", "--out", str(folder), *SMALL]) == 0
    assert main(["train", "--resume", "--out", str(folder), "--epochs", "5"]) == 0
    assert losses(folder)[:3] == losses(run)
    assert json.loads((folder / "result.json").read_text())["epochs"] == 5
    assert main(["train", "--resume", "--out", str(folder)]) == 0
    assert len(losses(folder)) == 5


@pytest.mark.slow("trains 300 epochs twice")
def test_ctrl_c_saves_and_resuming_gives_the_same_bits(tmp_path):
    args = [*SMALL, "--epochs", "300", "--patience", "300"]
    assert main(["train", "--out", str(tmp_path / "whole"), *args]) == 0
    code, text = in_terminal(["train", "--out", "cut", *args], tmp_path, until=rb"steps/s")
    assert code == 130
    assert "go on with: gru-jax train --resume --out cut" in " ".join(text.split())
    assert "Traceback" not in text
    assert 1 <= len(losses(tmp_path / "cut")) < 300
    assert not (tmp_path / "cut" / "result.json").exists()
    code, text = in_terminal(["train", "--resume", "--out", "cut"], tmp_path)
    assert code == 0
    assert re.search(r"300/300 .*steps/s.* left", text)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    results = [json.loads((tmp_path / f / "result.json").read_text()) for f in ("cut", "whole")]
    assert results[0]["confusion_matrix"] == results[1]["confusion_matrix"]


@pytest.mark.slow("trains a network")
@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_shows_the_epoch_and_the_time_left(tmp_path, columns):
    code, text = in_terminal(["train", "--out", "x", *SMALL], tmp_path, columns=columns)
    assert code == 0
    form = r"epoch 3/3 .*loss \d\.\d{3} .*val +\d+\.\d%.* [\d:]+ left"
    assert re.search(form, text)


@pytest.mark.slow("trains a network")
def test_without_a_terminal_there_are_plain_lines(tmp_path):
    done = subprocess.run(
        [*COMMAND, "train", "--out", "x", *SMALL], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^epoch +1/3  loss \d\.\d{3} accuracy", done.stdout, re.MULTILINE)
    assert not re.search(r"[\x1b\r━]", done.stdout)
    assert "x/result.json" in done.stdout


def test_the_task_can_be_named(run, tmp_path):
    folder = tmp_path / "x"
    assert main(["train", "japanese_vowels", "--out", str(folder), *SMALL]) == 0
    assert losses(folder) == losses(run)


def test_a_loss_that_is_not_finite_stops_names_the_step_and_keeps_the_parameters(tmp_path, capsys):
    folder = str(tmp_path / "x")
    assert main(["train", "--out", folder, *SMALL, "--learning-rate", "1e38"]) == 1
    error = capsys.readouterr().err
    assert re.search(r"was not finite at step \d+; the parameters after step \d+ are kept", error)
    assert main(["evaluate", folder]) == 0


def test_inspect_and_convert_say_what_stays_behind(run, tmp_path, monkeypatch, capsys):
    names = tuple(f"head[{i}]" for i in range(14))
    monkeypatch.setattr(interop, "leftovers", lambda *_, **__: names, raising=False)
    assert main(["inspect", str(run)]) == 0
    assert main(["convert", str(run), str(tmp_path / "a.safetensors")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count(f"stays behind: {', '.join(names[:12])} and 2 more") == 2
    names = names[:2]
    assert main(["inspect", str(run)]) == 0
    assert capsys.readouterr().out.endswith("stays behind: head[0], head[1]\n")


# Last: the validation's program, once compiled of XLA's loops, is what this process then keeps.
@pytest.mark.slow("trains a network")
def test_the_first_lines_and_the_result_say_which_code_runs_the_recurrences(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("GRU_JAX_BACKEND", "xla")
    args = ["train", "--out", str(tmp_path / "x"), *SMALL, "--epochs", "1"]
    assert main(args) == 0
    said = "XLA's loops: the variable GRU_JAX_BACKEND says so"
    assert re.search(rf"^recurrence +{said} *$", capsys.readouterr().out, re.MULTILINE)
    assert json.loads((tmp_path / "x" / "result.json").read_text())["recurrence"] == said
    monkeypatch.delenv("GRU_JAX_BACKEND")
    assert main([*args, "--resume"]) == 0
    assert re.search(r"^recurrence +the compiled kernel *$", capsys.readouterr().out, re.MULTILINE)
