"""What cannot be fitted: one sentence each, which calls a table in memory "table"."""

import numpy as np
import pandas as pd
import pytest
from refusals import refused

from gru_jax.estimators import GRUForecaster

QUICK = {"model": "small", "epochs": 1, "windows": 1, "horizon": 2}
Y = np.sin(np.arange(80.0))
FRAME = pd.DataFrame({"ds": np.arange(80), "y": Y})

TABLES = [
    (FRAME.rename(columns={"y": "Y"}), "table must have a column 'y', but its columns are ds, Y"),
    (FRAME.assign(y=0), "table: the validation windows must hold a target other than 0, but have"),
    (FRAME.assign(y=np.inf), "table: row 1, column 'y' must be finite and from -1e18 to 1e18, got"),
    (FRAME[::-1], "table: row 2, column 'ds' must rise from row to row, got '78' after '79'"),
    ({"y": Y}, "read_series: table must be a path, or a DataFrame of polars or pandas, got dict."),
    ("no.csv", "no.csv must be a file, but there is none."),
    (np.zeros((2, 80)), "GRUForecaster: X must be a table, a path, or arrays [time] with one step"),
    ([Y, Y[:0]], "GRUForecaster: X must be a table, a path, or arrays [time] with one step or mor"),
    ([], "GRUForecaster: X must be a table, a path, or arrays [time] with one step or more, got s"),
    ([Y, [np.inf]], "GRUForecaster: X must hold numbers from -1e18 to 1e18, or NaN for missing on"),
    (["a", "b"], "GRUForecaster: X must hold numbers, but NumPy says: could not convert string"),
]
SETTINGS = [
    ({"target": ()}, "GRUForecaster: target must name a column of the table, got none."),
    ({"future": "x"}, "table must have a column 'x', but its columns are ds, y."),
    ({"horizon": 0}, "train: horizon must be a whole number from 1 to below 100000, got 0."),
    ({"windows": -1}, "train: windows must be a whole number from 0 to below 100000, got -1."),
    ({"level": 100}, "train: level must be a number from 1 to below 100, got (100.0,)."),
    ({"level": (80, 80)}, "level_quantiles: levels must be different numbers from 1 to below 100"),
    ({"model": "huge"}, "train: model must be one of small, medium, large, segrnn, got 'huge'."),
    (
        {"freq": "often"},
        "read_series: freq must be 30min, h, D, W, MS, QS or YS, or a whole number",
    ),
    (
        {"learning_rate": 1e38, "batch": 1},
        "GRUForecaster: loss must be finite, but is not in epoch",
    ),
]


@pytest.mark.parametrize(
    ("settings", "table", "message"),
    [({}, *case) for case in TABLES] + [(case[0], FRAME, case[1]) for case in SETTINGS],
    ids=lambda each: each[:40] if isinstance(each, str) else "",
)
def test_wrong_input_is_one_clear_line(settings, table, message):
    with pytest.raises((ValueError, FileNotFoundError), match=r"\.$") as caught:
        GRUForecaster(**QUICK | {"target": "y"} | settings).fit(table)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_arrays_need_a_horizon_or_a_season():
    with refused("GRUForecaster: horizon or season must be given for arrays, got none."):
        GRUForecaster().fit(np.sin(np.arange(80.0)))
