"""Bad files and flags of `classify`: one line, exit code 2, and nothing written."""

import json

import numpy as np
import pytest
import waves

from gru_jax import interop
from gru_jax.app.cli import main

HEAD = "case,time,x,label\n"
GOOD = HEAD + "".join(f"c{i},{t},{t + i},{'ab'[i % 2]}\n" for i in range(8) for t in (1, 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "good.csv").write_text(GOOD)
    flags = [*waves.SMALL, "--epochs", "1", "--hidden", "2"]
    args = ["--data", str(folder / "good.csv"), "--out", str(folder / "run"), *flags]
    assert main(["train", "classify", *args]) == 0
    return folder / "run"


def complaint(capsys, args):
    """Runs a command that must fail, in one line; returns that line."""
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gru-jax: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a.csv must be a table with a header, but has zero bytes."),
        (HEAD, "a.csv must have rows below its header, but has none."),
        (b"case,time,x,label\n\xff", "a.csv: line 2 must be UTF-8, got the byte 0xff."),
        ("case,time,x,kind\nc,1,1,a\n", "a.csv must have a column 'label' (--label), but its"),
        (
            "case,time,x,lable\nc,1,1,a\n",
            "but its columns are case, time, x, lable (did you mean 'lable'?).",
        ),
        (f"{GOOD}c9,1,oops,a\n", "a.csv: line 18, column 'x' must be a number, got 'oops'."),
        (f"{GOOD}c9,1,inf,a\n", "a.csv: line 18, column 'x' must be finite, got 'inf'."),
        (f"{GOOD}c9,1,1e30,a\n", "line 18, column 'x' must be from -1e18 to 1e18, got '1e30'."),
        (f"{GOOD}c9,1,1\n", "a.csv: line 18 must have 4 fields, as the first, got 3."),
        (f"{GOOD}c0,2,1,a\n", "line 18, column 'time' must rise within a case, got '2' after '2'."),
        (f"{GOOD}c0,3,1,b\n", "line 18, column 'label' must not change within a case, got 'b'"),
        (f"{GOOD}c9,1,1,\n", "a.csv: line 18, column 'label' must not be missing, but is."),
        (f"{GOOD}c9,1,,a\n", "a.csv: case 'c9' must have one value or more, got none."),
        (GOOD.replace(",x,", ",x,x,"), "a.csv: "),
        (GOOD.replace("b\n", "a\n"), "a.csv must have labels of two classes or more, got only 'a'"),
        (
            f"{GOOD}c9,1,1,rare\n",
            "a.csv must have two cases or more of each class, one to train on and one to test on, "
            "got 1 of 'rare'; --test gives another file.",
        ),
        (
            HEAD + "c0,1,1,a\nc1,1,2,b\nc2,1,3,a\n",
            "a.csv must hold 4 cases or more, got 3.",
        ),
        (
            HEAD + "".join(f"c{i},1,{i},{'ab'[i % 2]}\n" for i in range(4)),
            "train: --validation must leave cases on both sides, got 0.",
        ),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_is_written(
    tmp_path, monkeypatch, capsys, text, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in complaint(capsys, ["train", "classify", "--data", "a.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "none.csv"], "none.csv must be a file, but there is none."),
        (["--data", "good.xlsx"], "good.xlsx must end in .csv, .tsv, .txt, .parquet, .ts, .arff"),
        (["--data", "swapped.npz"], "swapped.npz: xs must be [case, time, channel], but [4, 2, 9]"),
        (["--data", "blank.npz"], "blank.npz must have a label for each case, but has none."),
        (
            ["--data", "good.csv", "--label", "kind"],
            "good.csv must have a column 'kind' (--label)",
        ),
        (["--data", "good.csv", "--label", "case"], "case, time and label must be different"),
        (
            ["--data", "good.csv", "--channels", "y"],
            "good.csv must have a column 'y' (--channels)",
        ),
        (
            ["--data", "good.csv", "--test-share", "1"],
            "train: --test-share must be a number from 0 to",
        ),
        (
            ["--data", "good.csv", "--validation", "1"],
            "train: --validation must be a number from 0 to",
        ),
        (["--data", "good.csv", "--model", "huge"], "--model must be one of small, medium, large"),
        (
            ["--data", "good.csv", "--regression"],
            "good.csv: case 'c0' must have as label a number to 1e18, got 'a'.",
        ),
        (["--data", "same.csv", "--regression"], "same.csv must have labels that differ, got only"),
        (
            ["--data", "good.csv", "--test", "new_class.csv"],
            "new_class.csv: case 'd' must have as label one of a, b, the labels in training, got "
            "'z'.",
        ),
        (
            ["--data", "good.csv", "--test", "other.csv"],
            "other.csv must have a column 'x', but",
        ),
        (["--data", "good.csv", "--test", "blank.npz"], "blank.npz must have 1 channels, as"),
        (
            ["--data", "gap.csv", "--validation", "0.4"],
            "channel 'x' must have a value in",
        ),
    ],
)
def test_bad_flags_are_one_line(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "good.csv": GOOD,
        "good.xlsx": GOOD,
        "same.csv": GOOD.replace(",a\n", ",1\n").replace(",b\n", ",1\n"),
        "new_class.csv": HEAD + "d,1,1,z\n",
        "other.csv": GOOD.replace(",x,", ",y,"),
        "gap.csv": "case,time,y,x,label\n"
        + "".join(f"{i},1,{i},{9 * (i == GAP) or ''},{'ab'[i % 2]}\n" for i in range(8)),
    }.items():
        (tmp_path / name).write_text(text)
    np.savez("swapped.npz", xs=np.ones((4, 2, 9)), labels=list("abab"))
    np.savez("blank.npz", xs=np.ones((4, 9, 2)))
    before = sorted(tmp_path.iterdir())
    assert message in complaint(capsys, ["train", "classify", *flags])
    assert sorted(tmp_path.iterdir()) == before


GAP = 7
"""The case with the only value of a channel; it is drawn for the test."""


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("evaluate", HEAD + "d,1,1,z\n", "new.csv: case 'd' must have as label one of a, b, the"),
        ("evaluate", "case,time,x\nd,1,1\n", "--input must hold each sequence's class, got"),
        ("predict", "case,time,y\nd,1,1\n", "new.csv must have a column 'x', but its columns are"),
        ("predict", "case,x\nd,1\n", "new.csv must have a column 'time', but its columns are"),
        ("explain", "case,time,x\nd,1,\n", "new.csv: case 'd' must have one value or more, got"),
    ],
)
def test_a_bad_file_for_a_run_is_one_line(run, tmp_path, capsys, command, text, message):
    (tmp_path / "new.csv").write_text(text)
    args = [command, str(run), "--input", str(tmp_path / "new.csv")]
    assert message in complaint(capsys, args)


def test_a_run_without_its_file_says_so(run, capsys):
    good = run.parent / "good.csv"
    good.rename(run.parent / "moved.csv")
    try:
        message = complaint(capsys, ["evaluate", str(run)])
        assert f"{good} must be a file, but there is none." in message
    finally:
        (run.parent / "moved.csv").rename(good)


@pytest.mark.parametrize(
    "change",
    [
        {"title": 3},
        {"masked": ["y"]},
        {"counts": [1]},
        {"counts": [1, -1]},
        {"classes": []},
        {"classes": [], "target": [0.0, 0.0]},
        {"std": [0.0]},
        {"channels": ["x", "y"]},
    ],
)
def test_a_header_that_lies_is_one_line(run, tmp_path, capsys, change):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    path = tmp_path / "best.safetensors"
    header = interop.load_metadata(run / path.name)
    facts = json.loads(header["facts"]) | change
    header = {"settings": header["settings"], "facts": json.dumps(facts)}
    interop.save(path, *interop.load(run / path.name), metadata=header)
    start = f"gru-jax: {path} must be one that training wrote: "
    assert complaint(capsys, ["evaluate", str(tmp_path)]).startswith(start)
