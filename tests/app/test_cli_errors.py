"""Wrong use, and runs that are damaged or lie: one line each."""

import json
import os
import shutil
import subprocess

import pytest
from command_line import COMMAND, in_terminal

from gru_jax import interop
from gru_jax.app.cli import main
from gru_jax.app.tasks.table import TASKS

FACTS = {
    "channels": [f"LPC {i}" for i in range(12)],
    "classes": list("123456789"),
    "mean": [0.0] * 12,
    "std": [1.0] * 12,
}


@pytest.mark.parametrize("columns", [40, 80])
def test_a_message_breaks_no_word_in_a_terminal(tmp_path, columns):
    args = ["train", "--learning-rat", "3"]
    code, text = in_terminal(args, tmp_path, columns=columns)
    assert code == 2
    message = "gru-jax: train: no option --learning-rat; did you mean --learning-rate? See gru-jax"
    assert " ".join(text.split()) == f"{message} train --help."
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "gru-jax: no command trian; did you mean train? See gru-jax --help."),
        (["xyz"], "gru-jax: no command xyz. See gru-jax --help."),
        (
            ["train", "--sed", "3"],
            "train: no option --sed; did you mean --seed? See gru-jax train --help.",
        ),
        (
            ["train", "--data=a.csv"],
            "train: --data must come after a TASK, e.g. gru-jax train forec",
        ),
        (["train", "--seed", "x"], "train: --seed must be a whole number, got 'x'."),
        (["train", "--noise", "x"], "train: --noise must be a number, got 'x'."),
        (["train", "--seed"], "train: --seed must be a whole number, got nothing."),
        (["train", "--seed", "--resume"], "train: --seed must be a whole number, got nothing."),
        (["train", "--resume=3"], "train: --resume must stand alone, got --resume=3."),
        (["train", "--hidden", "3", "4"], "train: TASK must come before the options, got 4 after"),
        (["train", "japanese_vowel"], "got japanese_vowel; did you mean japanese_vowels?"),
        (
            ["train", "mnist"],
            "train: TASK must be one of japanese_vowels, classify, forecast, language, music,",
        ),
        (["predict", "a", "b"], "predict: b is one argument too many."),
        (["train", "--seed", "-1"], "train: --seed must be a whole number from 0 to below"),
        (["train", "--hidden", "0"], "train: --hidden must be a whole number from 1 to below"),
        (
            ["train", "--learning-rate", "nan"],
            "train: --learning-rate must be a number from 0 to",
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
        (["train", "--seed", "99999999999999999999"], "train: --seed must be a whole number"),
        (
            ["train", "--validation", "0.001"],
            "validation must leave sequences on both sides",
        ),
        (
            ["train", "--validation", "0.999"],
            "validation must leave sequences on both sides",
        ),
        (
            ["train", "--noise", "nan"],
            "train: --noise must be a number from 0 to below inf",
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
        (
            ["evaluate", "{run}", "--input", "short.csv"],
            "must be [time, 12] with one step or more",
        ),
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
    monkeypatch.setenv("GRU_JAX_BACKEND", "tpu")
    assert main(["train", "--out", str(folder), *more]) == 2
    assert capsys.readouterr() == (
        "",
        'gru-jax: recurrent: the variable GRU_JAX_BACKEND must be "auto", "xla", "scan", "cpu" or '
        "\"gpu\", got 'tpu'.\n",
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
        {"facts": None},
        {"facts": "3"},
        {"facts": json.dumps(FACTS | {"std": [0.0] * 12})},
        {"facts": json.dumps(FACTS | {"std": ["x"] * 12})},
        {"facts": json.dumps(FACTS | {"mean": [0.0] * 7, "std": [1.0] * 7})},
        {"facts": json.dumps({name: FACTS[name] for name in ("mean", "channels", "classes")})},
        {"facts": json.dumps(FACTS | {"classes": list(range(9))})},
    ],
)
def test_a_header_that_lies_is_one_line(run, tmp_path, capsys, change):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    path = tmp_path / "best.safetensors"
    header = interop.load_metadata(run / path.name)
    header = {name: header[name] for name in ("settings", "facts")} | change
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
