"""The whole command, end to end, in a temporary folder."""

import csv
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import runs
from gru_jax.app.cli import main
from gru_jax.app.tasks import TASKS

SMALL = ["--hidden", "6", "--layers", "1", "--epochs", "3", "--batch", "81"]
COMMANDS = ["train", "evaluate", "predict", "explain", "convert", "inspect", "bench"]
COMMAND = [sys.executable, "-m", "gru_jax"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small trained run, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--out", str(folder), *SMALL]) == 0
    return folder


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
    probabilities = runs.predict(runs.load_trained(run), test.xs[:3])
    rows = [re.findall(r" (\d) +(\d+)%  ", line) for line in lines]
    likeliest = [(str(np.argmax(p) + 1), f"{p.max() * 100:.0f}") for p in probabilities]
    assert [row[0] for row in rows if row] == likeliest


@pytest.mark.parametrize("columns", [40, 80])
def test_a_message_breaks_no_word_in_a_terminal(tmp_path, columns):
    args = ["train", "--learning-rat", "3"]
    code, text = in_terminal(args, tmp_path, columns=columns)
    assert code == 2
    message = "gru-jax: train: no option --learning-rat; did you mean --learning-rate? See gru-jax"
    assert " ".join(text.split()) == f"{message} train --help."
    assert max(map(len, text.splitlines())) <= columns


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


def in_terminal(args, cwd, until=None, columns=120):
    """Runs the command in a terminal; interrupts it when `until` is seen; returns code, text."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *args],
        cwd=cwd,
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns)},
    )
    os.close(child)
    text = b""
    try:
        while True:
            try:
                text += os.read(parent, 1 << 16)
            except OSError:  # Linux's way of saying that the other side has closed
                break
            if until and re.search(until, text):
                process.send_signal(signal.SIGINT)
                until = None
        code = process.wait()
    finally:
        process.kill()  # where the test itself is interrupted
        os.close(parent)
    return code, re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text.decode())


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


def test_help_names_every_flag_and_its_default(capsys):
    for command, flags in (
        ("train", "out seed resume epochs hidden layers learning-rate batch".split()),
        ("predict", ["input"]),
        ("evaluate", []),
        ("explain", ["input"]),
    ):
        with pytest.raises(SystemExit) as exit:
            main([command, "--help"])
        assert exit.value.code == 0
        text = capsys.readouterr().out
        assert all(f"--{flag}" in text for flag in flags)
        assert "runs/japanese_vowels" in text


@pytest.mark.parametrize("columns", [50, 57, 60, 66, 73, 80])
@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_keeps_to_the_width_and_breaks_no_word(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    words = capsys.readouterr().out.split()
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert text.split() == words


def test_without_a_command_there_is_help(capsys):
    texts = []
    for args in ([], ["--help"], ["-h"]):
        with pytest.raises(SystemExit) as exit:
            main(args)
        assert exit.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z]", texts[0], re.MULTILINE)


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    project = Path(gj.__file__).parent.parent / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    assert capsys.readouterr().out == f"gru-jax {version}\n"


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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "gru-jax: no command trian; did you mean train? See gru-jax --help."),
        (["xyz"], "gru-jax: no command xyz. See gru-jax --help."),
        (
            ["train", "--sed", "3"],
            "train: no option --sed; did you mean --seed? See gru-jax train --help.",
        ),
        (["train", "--seed", "x"], "train: --seed must be a whole number, got 'x'."),
        (["train", "--noise", "x"], "train: --noise must be a number, got 'x'."),
        (["train", "--seed"], "train: --seed must be a whole number, got nothing."),
        (["train", "--seed", "--resume"], "train: --seed must be a whole number, got nothing."),
        (["train", "--resume=3"], "train: --resume must stand alone, got --resume=3."),
        (["train", "--hidden", "3", "4"], "train: TASK must come before the options, got 4 behind"),
        (["train", "japanese_vowel"], "got japanese_vowel; did you mean japanese_vowels?"),
        (["train", "mnist"], "train: TASK must be one of japanese_vowels, got mnist."),
        (["predict", "a", "b"], "predict: b is one argument too many."),
        (["train", "--seed", "-1"], "train: seed must be a whole number from 0 to below"),
        (["train", "--hidden", "0"], "train: hidden must be a whole number from 1 to below"),
        (
            ["train", "--learning-rate", "nan"],
            "train: learning_rate must be a number from 0 to",
        ),
        (
            ["train", "--dropout", "1.5"],
            "dropout must be a number from 0 to below 1, got 1.5.",
        ),
        (["train", "--validation", "0"], "split: fraction must be 0 < fraction < 1, got 0.0."),
        (
            ["train", "--out", "other"],
            "other must be empty, new, or a run: other must be",
        ),
        (["train", "--resume", "--out", "none"], "none must be the folder of a run, but has no"),
        (
            ["train", "--resume", "--out", "{run}", "--hidden", "7"],
            "train: --hidden must be 6, as the run",
        ),
        (["train", "--resume", "--out", "{run}", "--epochs", "1"], "--epochs must be at least 3,"),
        (["train", "--seed", "99999999999999999999"], "train: seed must be a whole number"),
        (
            ["train", "--validation", "0.001"],
            "validation must leave utterances on both sides",
        ),
        (
            ["train", "--validation", "0.999"],
            "validation must leave utterances on both sides",
        ),
        (
            ["train", "--noise", "nan"],
            "train: noise must be a number from 0 to below inf",
        ),
        (
            ["train", "--out", "bad"],
            "bad must be empty, new, or a run: bad/",
        ),
        (["evaluate"], "evaluate: RUN is missing; see gru-jax evaluate --help."),
        (["evaluate", "none"], "none must be the folder of a run, but has no config.json."),
        (
            ["train", "--resume", "--out", "bad"],
            "bad/config.json must be one that training wrote: Expecting value",
        ),
        (["train", "--resume", "--out", "half"], "no folder half/checkpoints; train first."),
        (
            ["evaluate", "half"],
            "half must have the run's best parameters in best.safetensors, but has none: nothing "
            "was saved yet, or another version of gru_jax trained it; train again.",
        ),
        (["inspect", "half"], "half must have the run's best parameters in best.safetensors"),
        (
            ["train", "--resume", "--out", "old"],
            "old/config.json must be one that training wrote: its settings are of another version "
            "of gru_jax, scale differ; train again.",
        ),
        (["explain"], "explain: RUN is missing; see gru-jax explain --help."),
        (["explain", "none"], "none must be the folder of a run, but has no config.json."),
        (["explain", "{run}", "--input", "none.csv"], "none.csv must be a file, but there is"),
        (["predict", "{run}"], "predict: --input FILE is missing; see gru-jax predict --help."),
        (
            ["predict", "{run}", "--input", "none.npz"],
            "none.npz must be a file, but there is none.",
        ),
        (["predict", "{run}", "--input", "short.csv"], "must be [time, 12] with one step or more"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    for folder, text in (
        ("other", None),
        ("bad", "oops"),
        ("half", settings := (run / "config.json").read_text()),
        ("old", json.dumps(json.loads(settings) | {"scale": {"mean": [0.0], "std": [1.0]}})),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ("file.txt" if text is None else "config.json")).write_text(text or "")
    (tmp_path / "short.csv").write_text("1,2\n")
    before = sorted(tmp_path.rglob("*"))
    assert main([arg.format(run=run) for arg in args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("gru-jax: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_backend_that_is_none_is_refused_before_anything_happens(
    run, tmp_path, monkeypatch, capsys, more
):
    folder = tmp_path / "x"
    shutil.copytree(run, folder)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    task = TASKS["japanese_vowels"]._replace(load=lambda _: pytest.fail("the data are loaded"))
    monkeypatch.setitem(TASKS, task.name, task)
    monkeypatch.setenv("GRU_JAX_BACKEND", "gpu")
    assert main(["train", "--out", str(folder), *more]) == 2
    assert capsys.readouterr() == (
        "",
        'gru-jax: recurrent: the variable GRU_JAX_BACKEND must be "auto", "xla" or "cpu", '
        "got 'gpu'.\n",
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_wrong_use_is_one_line_where_there_is_no_unicode(tmp_path):
    for code in ("ascii", "utf-8"):
        done = subprocess.run(
            [*COMMAND, "explain", "x", "--inptu", "y"],
            env=os.environ | {"PYTHONIOENCODING": code},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        message = "gru-jax: explain: no option --inptu; did you mean --input? "
        assert done.stderr == message + "See gru-jax explain --help.\n"


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": "six"},
        {"hidden": 6.0},
        {"batch": 2.5},
        {"seed": 10**30},
        {"noise": None},
        {"hidden": 10**9},
        {"surprise": 1},
        {"task": "mnist"},
        {"task": None},
    ],
)
def test_a_config_that_lies_is_one_line(run, tmp_path, capsys, change):
    settings = json.loads((run / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "checkpoints").symlink_to(run / "checkpoints")
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gru-jax: {tmp_path}/config.json must be one that training wrote: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "{"},
        {"settings": None},
        {"settings": '{"task": "mnist"}'},
        {"settings": '{"task": "japanese_vowels", "hidden": 6}'},
        {"statistics": None},
        {"statistics": "3"},
        {"statistics": json.dumps({"mean": [0.0] * 12, "std": [0.0] * 12})},
        {"statistics": json.dumps({"mean": [0.0] * 12, "std": ["x"] * 12})},
        {"statistics": json.dumps({"mean": [0.0] * 7, "std": [1.0] * 7})},
        {"statistics": json.dumps({"mean": [0.0] * 12})},
    ],
)
def test_a_header_that_lies_is_one_line(run, tmp_path, capsys, change):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    path = tmp_path / "best.safetensors"
    header = interop.load_metadata(run / path.name)
    header = {name: header[name] for name in ("settings", "statistics")} | change
    header = {name: text for name, text in header.items() if text is not None}
    interop.save(path, *interop.load(run / path.name), metadata=header)
    assert main(["evaluate", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gru-jax: {path} must be one that training wrote: ")
    assert error.count("\n") == 1


def test_a_damaged_file_is_one_short_line(run, tmp_path, capsys):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    whole = (run / "best.safetensors").read_bytes()
    for data in (b"", whole[:100], b"\xff" * 5000, whole[:-1]):
        (tmp_path / "best.safetensors").write_bytes(data)
        assert main(["predict", str(tmp_path), "--input", "none.csv"]) == 2
        error = capsys.readouterr().err
        assert "best.safetensors must be a whole safetensors file" in error
        assert error.count("\n") == 1
        assert len(error) < 600


def test_a_long_message_is_cut(tmp_path, monkeypatch, capsys):
    def read(*_, **__):
        raise ValueError("there must be a GRU, got " + ", ".join(map(str, range(1000))))

    monkeypatch.setattr(interop, "read", read)
    assert main(["inspect", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gru-jax: there must be a GRU, got 0, 1, 2, ")
    assert error.endswith(" ...\n")
    assert len(error) <= 601


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
