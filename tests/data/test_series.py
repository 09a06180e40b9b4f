"""Series come back from their tables; whatever is wrong with a table is one clear sentence."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from refusals import refused
from series_files import FUTURE, SIZES, write_series

import gru_jax as gj
from gru_jax.data.times import parse_times


def by_hand(rows, name, column):
    """Returns a column of one series, step by step from its first row, NaN without a row."""
    rows = rows.filter(pl.col("place") == name)
    values = dict(zip(rows["when"], rows[column], strict=True))
    steps = pl.datetime_range(rows["when"][0], rows["when"][-1], "30m", eager=True)
    values = [values.get(step) for step in steps]
    return np.array([np.nan if v is None else v for v in values], np.float32)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_series_come_back_on_their_grid(tmp_path, rng, suffix, missing):
    path, rows, columns = write_series(tmp_path, rng, suffix=suffix, missing=missing)
    table = gj.read_series(path, **columns)
    assert (str(table.freq), table.season, table.utc) == ("30min", 48, False)
    assert [series.id for series in table.series] == list(SIZES)
    absent = 0
    for series, size in zip(table.series, SIZES.values(), strict=True):
        wanted = {name: by_hand(rows, series.id, name) for name in rows.columns[2:]}
        np.testing.assert_array_equal(series.y, wanted["load"][:size], strict=True)
        np.testing.assert_array_equal(series.past[:, 0], wanted["wind"][:size], strict=True)
        np.testing.assert_array_equal(series.future[:, 0], wanted["temp"], strict=True)
        np.testing.assert_array_equal(series.future[:, 1], wanted["holiday"], strict=True)
        assert len(series.future) == size + FUTURE
        first = rows.filter(pl.col("place") == series.id)["when"][0]
        times = np.datetime64(first, "us") + np.arange(size) * np.timedelta64(30, "m")
        np.testing.assert_array_equal(series.times, times)
        absent += np.isnan(wanted["wind"][:size]).sum()
        assert np.isnan(series.y).any() == (missing > 0)
    assert table.absent == absent


def test_rows_of_the_series_may_be_mixed_and_orders_are_kept(tmp_path, rng):
    path, rows, columns = write_series(tmp_path, rng, suffix=".parquet", missing=0.2)
    expected = gj.read_series(path, **columns)
    rows.sort("when", "place").reverse().sort("when", maintain_order=True).write_parquet(path)
    actual = gj.read_series(path, **columns)
    for one, other in zip(expected.series, sorted(actual.series), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def read(tmp_path, text, target="y", **options):
    path = tmp_path / "a.csv"
    path.write_text(text)
    return gj.read_series(str(path), target=target, **options)


def test_wide_tables_are_one_series_for_each_column(tmp_path):
    text = "ds,a,b,x\n1990,1,4,7\n1991,2,,8\n1992,3,6,9\n"
    table = read(tmp_path, text, ["b", "a"], past=["x"])
    b, a = table.series
    assert (a.id, b.id) == ("a", "b")
    np.testing.assert_array_equal(a.y, [1, 2, 3])
    np.testing.assert_array_equal(b.y, [4, np.nan, 6])
    np.testing.assert_array_equal(a.past, b.past)
    np.testing.assert_array_equal(a.times, [1990, 1991, 1992])
    assert (str(table.freq), table.season, table.absent) == ("1", 1, 0)


def test_rows_behind_the_last_target_are_the_known_future_if_there_is_any(tmp_path):
    text = "ds,y,x\n2024-01,1,0\n2024-02,2,1\n2024-04,,0\n2024-05,,1\n"
    table = read(tmp_path, text)
    assert (len(table.series[0].y), table.series[0].future.shape) == (2, (2, 0))
    with pytest.raises(ValueError, match="line 4, column 'ds' must leave out no step"):
        read(tmp_path, text, future=["x"])
    table = read(tmp_path, text.replace("2024-04,,", "2024-03,,").replace("05", "04"), future=["x"])
    np.testing.assert_array_equal(table.series[0].future, [[0], [1], [0], [1]])
    assert (str(table.freq), table.season) == ("MS", 12)


def test_flags_are_numbers_in_any_case_and_may_be_missing_in_the_past(tmp_path):
    text = "ds,y,a,b\n1,1,TRUE,true\n2,2,False,\n3,3, true ,false\n"
    series = read(tmp_path, text, future="a", past="b").series[0]
    np.testing.assert_array_equal(series.future[:, 0], [1, 0, 1])
    np.testing.assert_array_equal(series.past[:, 0], [1, np.nan, 0])


def test_frequency_and_season_may_be_given(tmp_path):
    text = "ds,y\n2024-01-01,1\n2024-01-15,2\n2024-01-29,3\n"
    table = read(tmp_path, text)
    assert (str(table.freq), table.season, table.absent) == ("2W", 26, 0)
    table = read(tmp_path, text, freq="W-MON", season=4)
    assert (table.series[0].past.shape, table.series[0].future.shape) == ((5, 0), (5, 0))
    assert (str(table.freq), table.season, table.absent) == ("W", 4, 2)
    np.testing.assert_array_equal(table.series[0].y, [1, np.nan, 2, np.nan, 3])
    text = "ds,y\n2024-01-31,1\n2024-02-29,2\n2024-04-30,4\n"
    table = read(tmp_path, text, freq="M")
    assert (str(table.freq), len(table.series[0].y)) == ("ME", 4)
    assert str(gj.step_times(table.freq, table.series[0].times[-1], np.array([1]))[0])[:10] == (
        "2024-05-31"
    )


WRITTEN = {
    "2024-02-29": "2024-02-29T00:00",
    "20240229": "2024-02-29T00:00",
    " 2024-02-29 13:05": "2024-02-29T13:05",
    "2024-02-29T13:05:07.25": "2024-02-29T13:05:07.25",
    "2024-02-29T13:05:07Z": "2024-02-29T13:05:07",
    "2024-02-29 13:05 UTC": "2024-02-29T13:05",
    "2024-02-29T00:30+11:00": "2024-02-28T13:30",
    "2024-02-29T13:05:00-0330": "2024-02-29T16:35",
    "2024-02": "2024-02-01T00:00",
    "2024 Feb": "2024-02-01T00:00",
    "2024 Q3": "2024-07-01T00:00",
    "2024-Q4": "2024-10-01T00:00",
    "1998Q1": "1998-01-01T00:00",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_times_are_read_in_many_forms(text, tmp_path):
    times, utc = parse_times(tmp_path, "ds", pl.Series([text]))
    np.testing.assert_array_equal(times, np.array([WRITTEN[text]], "datetime64[us]"), strict=True)
    assert utc == any(zone in text for zone in ("Z", "UTC", "+", "-0330"))
    written = gj.format_times(times, utc=utc)
    again, same = parse_times(tmp_path, "ds", pl.Series(written))
    np.testing.assert_array_equal(again, times)
    assert same == utc


def test_times_are_written_as_short_as_they_are():
    day = np.array(["2024-01-01", "2024-01-02"], "datetime64[us]")
    assert gj.format_times(day) == ["2024-01-01", "2024-01-02"]
    assert gj.format_times(day, utc=True)[1] == "2024-01-02T00:00:00Z"
    assert gj.format_times(day + np.timedelta64(90, "m"))[0] == "2024-01-01T01:30:00"
    assert gj.format_times(np.array([3, -4])) == ["3", "-4"]


def test_importing_the_package_does_not_import_polars():
    code = "import sys, gru_jax as gj; gj.read_series; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


DAYS = "ds,y,x\n2024-01-01,1,0\n2024-01-02,2,1\n2024-01-03,3,0\n"
ROLES = "read_series: target, id, time, future and past must be different columns, got "
DATE = "must be an ISO date, e.g. 2024-01-31 or 2024-01-31T13:30, or an integer, got "
FIT = "; give freq if the step is another."
ALONE = "; if the table holds several series, name their column as id."
X = {"future": ["x"]}

CASES = [
    (DAYS + "2024-01-03,3,0\n", {}, "{}: line 5, column 'ds' must hold each time once, got "
     "'2024-01-03' after '2024-01-03'" + ALONE),
    (DAYS + "2024-01-02,3,0\n", {}, "{}: line 5, column 'ds' must rise from row to row, got "
     "'2024-01-02' after '2024-01-03'" + ALONE),
    ("ds,y,x\n5,1,a\n5,1,b\n6,1,b\n6,2,a\n6,3,a\n", {"id": "x"}, "{}: line 6, column 'ds' must "
     "hold each time once, got '6' after '6' of series 'a'."),
    (DAYS + "2024-01-04 12:00,3,0\n", {}, "{}: line 5, column 'ds' must be whole steps of D after "
     "'2024-01-01', got '2024-01-04 12:00'" + FIT),
    (DAYS, {"freq": "2D"}, "{}: line 3, column 'ds' must be whole steps of 2D after '2024-01-01', "
     "got '2024-01-02'" + FIT),
    (DAYS, {"freq": "MS"}, "{}: line 3, column 'ds' must be whole steps of MS after '2024-01-01', "
     "got '2024-01-02'" + FIT),
    (DAYS, {"freq": "h"}, "{}: line 3, column 'ds' must leave out fewer steps of h: series 'y' has "
     "3 rows for 49 steps, most of them between '2024-01-01' and '2024-01-02'."),
    (DAYS + "9999-01-04,3,0\n", {}, "{}: line 5, column 'ds' must leave out fewer steps of D: "
     "series 'y' has 4 rows for 2912813 steps, most of them between '2024-01-03' and "
     "'9999-01-04'."),
    (DAYS, {"freq": 1}, "{}: freq must be a step such as 30min, h, D or MS, as column 'ds' holds "
     "dates, got 1."),
    ("ds,y\n1,2\n2,3\n", {"freq": "h"}, "{}: freq must be a whole number, as column 'ds' holds "
     "integers, got h."),
    (DAYS, {"freq": "often"}, "read_series: freq must be 30min, h, D, W, MS, QS or YS, or a whole "
     "number from 1 for times that are integers, got 'often'."),
    (DAYS.replace("02,2", "x,2"), {}, "{}: line 3, column 'ds' " + DATE + "'2024-01-x'."),
    (DAYS.replace("01-02", "02-30"), {}, "{}: line 3, column 'ds' " + DATE + "'2024-02-30'."),
    (DAYS.replace("2024-01-01", "01/31/2024"), {}, "{}: line 2, column 'ds' " + DATE
     + "'01/31/2024'."),
    ("ds,y\n1,2\n2,3\n2.5,3\n", {}, "{}: line 4, column 'ds' must be an integer, as most of its "
     "column, got '2.5'."),
    ("ds,y\n1,2\n9000000000000000000,3\n", {}, "{}: line 3, column 'ds' must be from -1e15 to "
     "1e15, got '9000000000000000000'."),
    (DAYS.replace("-03", "-03T00:00Z"), {}, "{}: line 4, column 'ds' must have no zone, as the "
     "first row, got '2024-01-03T00:00Z'."),
    (DAYS.replace("-03", "-03T00:00+25:00"), {}, "{}: line 4, column 'ds' " + DATE
     + "'2024-01-03T00:00+25:00'."),
    (DAYS.replace("2024-01-02", ""), {}, "{}: line 3, column 'ds' must not be missing, but is."),
    (DAYS, {"time": "when"}, "{} must have a column 'when', but its columns are ds, y, x."),
    (DAYS, {"target": "Y"}, "{} must have a column 'Y', but its columns are ds, y, x (did you mean "
     "'y'?)."),
    (DAYS.replace(",2,", ",two,"), {}, "{}: line 3, column 'y' must be a number, got 'two'."),
    (DAYS.replace(",2,", ",1e30,"), {}, "{}: line 3, column 'y' must be from -1e18 to 1e18, got "
     "'1e30'."),
    (DAYS.replace(",2,", ",inf,"), {}, "{}: line 3, column 'y' must be finite, got 'inf'."),
    (DAYS.replace(",1\n", ",rain\n"), X, "{}: line 3, column 'x' must be a number, got 'rain'."),
    (DAYS.replace(",1\n", ",NaN\n"), X, "{}: line 3, column 'x' must not be missing, but is."),
    (DAYS.replace(",1\n", ",\n"), X, "{}: line 3, column 'x' must not be missing, but is."),
    ("ds,y,x\n1,1,TRUE\n2,2,\n", X, "{}: line 3, column 'x' must not be missing, but is."),
    (DAYS.replace(",1\n", ",-1e30\n"), X, "{}: line 3, column 'x' must be from -1e18 to 1e18, got "
     "'-1e30'."),
    (DAYS, {"future": ["y"]}, ROLES + "'y' twice."),
    (DAYS, {"past": ["x"], **X}, ROLES + "'x' twice."),
    (DAYS, {"id": "ds"}, ROLES + "'ds' twice."),
    (DAYS.replace("x\n", "y\n"), {}, "{}: line 1 must name each column once, got 'y' in columns 2 "
     "and 3."),
    (DAYS, {"target": ["y", "x"], "id": "z"}, "read_series: target must be one column, or several "
     "without id, got ['y', 'x'] and id 'z'."),
    (DAYS, {"target": []}, "read_series: target must be one column, or several without id, got [] "
     "and id None."),
    (DAYS, {"season": 0}, "read_series: season must be a whole number from 1, got 0."),
    ("ds,y\n2024-01-01,2\n", {}, "{}: column 'ds' must hold two times of a series or more, got one "
     "of each."),
    ("ds,y\n1,\n2,\n", {}, "{}: series 'y' must have a target, but all are missing."),
    ("ds,y\n", {}, "{} must have rows below its header, but has none."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "message"), CASES)
def test_a_bad_table_is_one_clear_sentence(tmp_path, text, options, message):
    with refused(message.replace("{}", str(tmp_path / "a.csv"))):
        read(tmp_path, text, **{"target": "y", **options})


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"ds": [1, 2, 2], "y": [1.0, 2.0, 3.0]}).write_parquet(path)
    with refused(f"{path}: row 3, column 'ds' must hold each time once, got '2' after '2'{ALONE}"):
        gj.read_series(path, target="y")
