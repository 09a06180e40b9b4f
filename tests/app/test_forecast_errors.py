"""Tables that cannot be forecast: one sentence each, and the exit code of wrong use."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from forecast_files import COLUMNS, OPTIONS, make_rows, write_rows

from gru_jax.app.cli import main

DAYS = "ds,y,x\n" + "".join(
    f"{day:%Y-%m-%d},{i % 7},{i % 2}\n"
    for i, day in enumerate(pd.date_range("2024-01-01", periods=90))
)
LAST = "2024-03-30,5,1\n"


def replace(old, new):
    assert old in DAYS
    return DAYS.replace(old, new)


CASES = [
    (DAYS + LAST, [], "line 92, column 'ds' must hold each time once, got '2024-03-30' after"),
    (DAYS + "2024-01-05,1,1\n", [], "line 92, column 'ds' must rise from row to row, got"),
    (DAYS + "2024-03-31 12:00,1,1\n", [], "line 92, column 'ds' must be whole steps of D after"),
    (replace("-05,4,0", "-05,1e30,0"), [], "line 6, column 'y' must be from -1e18 to 1e18, got"),
    (replace("-05,4,0", "-05,four,0"), [], "line 6, column 'y' must be a number, got 'four'."),
    (replace("-05,4,0", "-05,4,x"), ["--future", "x"], "line 6, column 'x' must be a number, got"),
    (replace("-05,4,0", "-05,4,"), ["--future", "x"], "line 6, column 'x' must not be missing"),
    (
        DAYS,
        ["--future", "y"],
        "train: --target, --id, --time, --future and --past must be different",
    ),
    ("ds,y,x\n", [], "must have rows below its header, but has none."),
    ("", [], "must be a table with a header, but has zero bytes."),
    (DAYS.replace("y,x", "y,y"), [], "line 1 must name each column once, got 'y' in columns 2"),
    (DAYS.encode() + b"2024-03-31,\xff,1\n", [], "line 92 must be UTF-8, got the byte 0xff."),
    (
        DAYS,
        ["--target", "Y"],
        "must have a column 'Y' (--target), but its columns are ds, y, x (did",
    ),
    (DAYS, ["--time", "date"], "must have a column 'date' (--time), but its columns are ds, y, x."),
    (replace("ds", "day"), [], "must have a column 'ds' (--time), but its columns are day, y, x."),
    (DAYS, ["--freq", "often"], "train: --freq must be 30min, h, D, W, MS, QS or YS"),
    (
        DAYS,
        ["--horizon", "91"],
        "split_windows: series 'y' must have 820 steps or more: 1 of look-",
    ),
    (DAYS, ["--lookback", "80"], "80 of look-back and 7 of horizon"),
    (
        DAYS,
        ["--level", "80", "100"],
        "train: --level must be a number from 1 to below 100, got (80.0, 100.0)",
    ),
    (DAYS, ["--level", "-5"], "train: --level must be a number from 1 to below 100, got (-5.0,)."),
    (DAYS, ["--level", "0.8"], "train: --level must be a number from 1 to below 100, got (0.8,)."),
    (
        DAYS,
        ["--level", "80", "80"],
        "levels must be different numbers from 1 to below",
    ),
    (DAYS, ["--model", "huge"], "--model must be one of small, medium, large, segrnn, got 'huge'."),
    (DAYS, ["--windows", "0"], "train: --windows must be a whole number from 1, got 0."),
    (DAYS, ["--horizon", "0"], "train: --horizon must be a whole number from 1 to below"),
    (
        "ds,y\n" + "".join(f"{i},0\n" for i in range(90)),
        ["--season", "7"],
        "validation windows must",
    ),
    ("ds,y\n1,\n2,\n", [], "series 'y' must have a target, but all are missing."),
]


def complaint(capsys, *args):
    """Runs a command that is refused, and returns its one line."""
    assert main(list(map(str, args))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith(".\n")
    return err


@pytest.mark.parametrize(("content", "options", "message"), CASES)
def test_a_bad_table_is_one_line(tmp_path, capsys, content, options, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if "--target" in options else ["--target", "y"]
    args = ["--data", path, *target, *options, "--out", tmp_path / "x"]
    assert message in complaint(capsys, "train", "forecast", *args)
    assert not (tmp_path / "x").exists()


def test_what_is_not_given_is_named(tmp_path, capsys):
    assert "--data FILE is missing" in complaint(capsys, "train", "forecast", "--target", "y")
    assert "--target COLUMN is missing" in complaint(capsys, "train", "forecast", "--data", "a.csv")
    args = ["--data", tmp_path / "none.csv", "--target", "y"]
    assert "must be a file, but there is none" in complaint(capsys, "train", "forecast", *args)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run on a file whose promotions are known for three days only; its file and its folder."""
    folder = tmp_path_factory.mktemp("short")
    path = write_rows(folder / "a.csv", make_rows(np.random.default_rng(1), future=3))
    args = ["--data", str(path), *COLUMNS, *OPTIONS[:-1], "1", "--out", str(folder / "x")]
    assert main(["train", "forecast", *args]) == 0
    return path, folder / "x"


def test_future_covariates_that_end_too_early_are_told(short, capsys):
    path, run = short
    last = pd.Timestamp(pd.read_csv(path).query("place == 'a'")["day"].max())
    gap = "series 'a' must have promo for 9 steps after its last target, got 3, "
    first, end = (f"{last + pd.Timedelta(days=days):%Y-%m-%d}" for days in (1, 6))
    gap += f"none from {first} to {end}."
    (note,) = json.loads((run / "result.json").read_text())["notes"]
    assert note == f"No forecast.csv: {gap}"
    assert (run / "backtest.csv").exists()
    assert not (run / "forecast.csv").exists()
    assert gap in complaint(capsys, "predict", run, "--input", path)


def test_other_files_for_a_run_are_refused(short, tmp_path, capsys):
    path, run = short
    rows = path.read_text().splitlines(keepends=True)
    few = tmp_path / "few.csv"
    few.write_text("".join(rows[:20]))
    message = complaint(capsys, "evaluate", run, "--input", few)
    assert "must" in message
    assert "steps or more" in message
    few.write_text("".join(rows).replace("promo", "promotion"))
    assert "must have a column 'promo', but" in complaint(capsys, "predict", run, "--input", few)


def test_a_run_does_not_go_on_with_other_data(short, tmp_path, capsys):
    path, run = short
    copy = tmp_path / "x"
    shutil.copytree(run, copy)
    text = path.read_text()
    first = text.splitlines()[1]
    try:
        path.write_text(text.replace(first, first.rsplit(",", 2)[0] + ",12.5,1"))
        message = complaint(capsys, "train", "--resume", "--out", copy, "--epochs", "2")
        assert "the data must be those that" in message
    finally:
        path.write_text(text)
