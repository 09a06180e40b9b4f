"""Files of music that are not what they must be: one line each."""

import numpy as np
import pytest
from scipy.io import savemat

from gru_jax.app.cli import main

GOOD = [np.eye(4, dtype="uint8"), np.ones((3, 4), "uint8")]


def write(path, **parts):
    """Writes each part as a cell array, but an array as it is."""
    cells = {}
    for name, pieces in parts.items():
        if isinstance(pieces, list):
            cells[name] = np.empty((1, len(pieces)), object)
            cells[name][0, :] = [*pieces, None][:-1] if pieces else []
        else:
            cells[name] = pieces
    savemat(path, cells)


def other(piece):
    return {"traindata": GOOD, "validdata": GOOD, "testdata": [GOOD[0], piece]}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"validdata": GOOD, "testdata": GOOD}, "must have traindata, got validdata, testdata."),
        ({"x": GOOD}, "must have traindata, got x."),
        ({"traindata": [], "validdata": GOOD, "testdata": GOOD}, "traindata must have one piece"),
        (
            other(np.full((3, 4), 2)),
            "testdata[1] must be 0 or 1 everywhere, got 2 in row 1, column 1.",
        ),
        (
            other(np.array([[0, 1, 0, 0], [0, 0, 0.5, 0]])),
            "testdata[1] must be 0 or 1 everywhere, got 0.5 in row 2, column 3.",
        ),
        (
            other(np.array([[0, 1, 0, 0], [0, 0, np.nan, 0]])),
            "testdata[1] must be 0 or 1 everywhere, got nan in row 2, column 3.",
        ),
        (
            other(np.ones((3, 5), "uint8")),
            "testdata[1] must have 4 columns, one a note, got 5.",
        ),
        (
            other(np.zeros((0, 4), "uint8")),
            "testdata[1] must be numbers [time, 4] with two steps or more, got [0, 4] uint8.",
        ),
        (
            other(np.zeros((1, 4), "uint8")),
            "testdata[1] must be numbers [time, 4] with two steps or more, got [1, 4] uint8.",
        ),
        (
            {"traindata": "tune", "validdata": GOOD, "testdata": GOOD},
            "traindata[0] must be numbers [time, notes] with two steps or more, got [1] <U4.",
        ),
        (other(np.ones((3, 4), complex)), "testdata[1] must be numbers [time, 4] with two steps"),
    ],
)
def test_a_misfit_is_one_line_that_says_where(tmp_path, capsys, parts, message):
    path = tmp_path / "bad.mat"
    write(path, **parts)
    out = tmp_path / "run"
    assert main(["train", "music", "--data", str(path), "--out", str(out)]) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith(f"gru-jax: {path}")
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must be a file, but there is none."),
        (b"", "must be a whole MATLAB file, .mat, but: "),
        (b"notes, notes, notes" * 20, "must be a whole MATLAB file, .mat, but: "),
        (b"cut", "must be a whole MATLAB file, .mat, but: "),
        (
            b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400),
            "must be a MATLAB file of version 5 to 7, got one of version 7.3: save it again",
        ),
    ],
)
def test_a_file_that_is_not_matlab_s_is_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "bad.mat"
    if content == b"cut":
        write(tmp_path / "whole.mat", traindata=GOOD * 9)
        content = (tmp_path / "whole.mat").read_bytes()[:700]
    if content is not None:
        path.write_bytes(content)
    assert main(["train", "music", "--data", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_file_must_be_named(capsys):
    assert main(["train", "music"]) == 2
    message = "gru-jax: train: --data FILE is missing; see gru-jax train music --help.\n"
    assert capsys.readouterr().err == message


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    write(folder / "good.mat", traindata=GOOD, validdata=GOOD, testdata=GOOD)
    options = ["--out", str(folder / "run"), "--epochs", "1", "--hidden", "3"]
    assert main(["train", "music", "--data", str(folder / "good.mat"), *options]) == 0
    return folder / "run"


def test_predict_refuses_pieces_of_other_notes(run, tmp_path, capsys):
    for name, array, message in (
        ("wide.npz", np.ones((3, 5)), "wide.npz: sequence a must be [time, 4] with one step"),
        ("grey.npz", np.full((3, 4), 0.5), "a must be 0 or 1 everywhere, got 0.5 in row 1"),
        ("short.npz", np.ones((1, 4)), "a must be numbers [time, 4] with two steps or more, got"),
        ("wide.mat", np.ones((3, 5)), "a[0] must have 4 columns, one a note, got 5."),
    ):
        path = tmp_path / name
        if path.suffix == ".mat":
            savemat(path, {"a": array})
        else:
            np.savez(path, a=array)
        assert main(["predict", str(run), "--input", str(path)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    savemat(tmp_path / "none.mat", {})
    assert main(["predict", str(run), "--input", str(tmp_path / "none.mat")]) == 2
    assert "none.mat must have one piece or more, got none." in capsys.readouterr().err
