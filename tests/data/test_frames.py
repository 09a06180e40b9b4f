"""Series from data frames of polars and pandas, against the same rows in files."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from refusals import refused
from series_files import write_series

import gru_jax as gj

HOURS = pd.date_range("2024-03-30", periods=4, freq="h")
DATES = pd.date_range("2024-03-30", periods=4)
COLUMNS = {"target": "y", "time": "when"}


def check_equal(actual, expected):
    assert actual._replace(series=()) == expected._replace(series=())
    for one, other in zip(actual.series, expected.series, strict=True):
        assert one.id == other.id
        for a, b in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def as_pandas(frame):
    return pd.DataFrame({column.name: column.to_list() for column in frame})


@pytest.mark.parametrize("kind", [lambda frame: frame, as_pandas], ids=["polars", "pandas"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_frame_is_read_as_a_file_with_its_rows(tmp_path, kind, suffix):
    path, rows, columns = write_series(
        tmp_path, np.random.default_rng(0), suffix=suffix, missing=0.1
    )
    frame = kind(rows.with_columns(unused=pl.lit("a")))
    actual, expected = gj.read_series(frame, **columns), gj.read_series(path, **columns)
    assert np.isnan(expected.series[0].y).any()
    check_equal(actual, expected)


@pytest.mark.parametrize(
    "y",
    [
        pd.array([1, 2, None, 4], "Int64"),
        pd.array([1.0, 2.0, None, 4.0], "Float64"),
        pd.Series([1, 2, None, 4], dtype=object),
        np.array([1, 2, np.nan, 4], np.float32),
        pd.Categorical([1, 2, None, 4]),
    ],
)
def test_numbers_of_pandas_of_each_kind_are_read(y):
    (series,) = gj.read_series(pd.DataFrame({"when": HOURS, "y": y}), **COLUMNS).series
    np.testing.assert_array_equal(series.y, [1, 2, np.nan, 4])


@pytest.mark.parametrize(
    "flag",
    [
        [True, False, True, True],
        pd.array([True, False, True, True], "boolean"),
        ["TRUE", "false", "True", "true"],
        pd.Series([True, False, True, True], dtype=object),
    ],
)
def test_flags_of_pandas_are_read(flag):
    frame = pd.DataFrame({"when": HOURS, "y": 1.0, "flag": flag})
    (series,) = gj.read_series(frame, past="flag", **COLUMNS).series
    np.testing.assert_array_equal(series.past[:, 0], [1, 0, 1, 1])


@pytest.mark.parametrize(
    ("when", "expected", "utc"),
    [
        (HOURS.astype("datetime64[s]"), HOURS, False),
        (HOURS.to_pydatetime(), HOURS, False),
        (HOURS.strftime("%Y-%m-%d %H:%M"), HOURS, False),
        # The clock is put forward in the second of these hours.
        (HOURS.tz_localize("UTC").tz_convert("Europe/Berlin"), HOURS, True),
        (HOURS.tz_localize("UTC").strftime("%Y-%m-%dT%H:%M%z"), HOURS, True),
        (
            pd.period_range("2024-01", periods=4, freq="M"),
            pd.date_range("2024", None, 4, "MS"),
            False,
        ),
        (
            pd.period_range("2024Q1", periods=4, freq="Q"),
            pd.date_range("2024", None, 4, "QS"),
            False,
        ),
        (DATES.date, DATES, False),
    ],
)
def test_times_of_pandas_of_each_kind_are_read(when, expected, utc):
    table = gj.read_series(pd.DataFrame({"when": when, "y": 1.0}), **COLUMNS)
    np.testing.assert_array_equal(table.series[0].times, expected)
    assert table.utc == utc


def test_columns_that_are_numbers_are_named_by_their_text():
    (series,) = gj.read_series(pd.DataFrame({0: HOURS, 1: 2.0}), target="1", time="0").series
    np.testing.assert_array_equal(series.y, [2, 2, 2, 2])


FRAME = pd.DataFrame({"when": HOURS, "y": [1.0, 2.0, 3.0, 4.0]})
FAULTS = [
    (FRAME.assign(y=[1, np.inf, 3, 4]), "table: row 2, column 'y' must be finite and from -1e18"),
    (FRAME.assign(y=["1", "2", "3", "4"]), "table: column 'y' must be numbers, got String."),
    (
        FRAME.assign(when=[*HOURS[:3], HOURS[0]]),
        "table: row 4, column 'when' must rise from row to",
    ),
    (FRAME.assign(when=[*HOURS[:3], pd.NaT]), "table: row 4, column 'when' must not be missing"),
    (FRAME.rename(columns={"y": "Y"}), "table must have a column 'y', but its columns are when, Y"),
    (FRAME[:0], "table must have one row or more, but has none."),
]
NAMED = FRAME.assign(shop=[1.0, 1.0, np.nan, 2.0])


@pytest.mark.parametrize(("frame", "message"), FAULTS, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_a_bad_frame_is_one_line_with_its_place(frame, message, kind):
    if kind == "polars":
        columns = {name: [None if pd.isna(v) else v for v in frame[name]] for name in frame}
        frame = pl.DataFrame(columns)
    with pytest.raises(ValueError, match=r"^table.*[^\n]\.$") as caught:
        gj.read_series(frame, **COLUMNS)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "frame", [NAMED, pl.DataFrame(dict(NAMED.items()))], ids=["pandas", "polars"]
)
def test_a_name_that_is_nan_is_missing(frame):
    with refused("table: row 3, column 'shop' must not be missing, but is."):
        gj.read_series(frame, target="y", time="when", id="shop")


def test_what_is_no_table_is_refused():
    with refused(
        "read_series: table must be a path, or a DataFrame of polars or pandas, got Series."
    ):
        gj.read_series(FRAME["y"], **COLUMNS)
    with refused("read_series: table must name each column once, got 'y' twice."):
        gj.read_series(FRAME.set_axis(["y", "y"], axis=1), **COLUMNS)
