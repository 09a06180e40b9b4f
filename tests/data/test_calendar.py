"""Frequencies, seasons and grids; pandas' calendar is the oracle."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from gru_jax.data.calendar import (
    Frequency,
    count_steps,
    find_season,
    infer_frequency,
    parse_frequency,
    step_times,
)

# pandas' name, a first time, the name here, the season
KINDS = [
    ("30min", "2011-12-31 13:00", "30min", 48),
    ("15min", "2024-02-28 23:45", "15min", 96),
    ("h", "2024-02-28 05:00", "h", 24),
    ("6h", "2023-12-30 06:00", "6h", 4),
    ("7h", "2023-12-30 06:00", "7h", 1),
    ("10s", "2023-12-31 23:59:50", "10s", 8640),
    ("D", "2024-02-27", "D", 7),
    ("2D", "2024-02-27", "2D", 1),
    ("W-SUN", "2023-12-24", "W", 52),
    ("2W-MON", "2023-12-25", "2W", 26),
    ("MS", "2023-11-01", "MS", 12),
    ("ME", "2023-11-30 12:30", "ME", 12),
    ("2MS", "2023-11-01", "2MS", 6),
    ("QS-FEB", "2022-02-01", "QS", 4),
    ("QE", "2022-03-31", "QE", 4),
    ("YS", "1999-01-01", "YS", 1),
    ("YE", "1999-12-31", "YE", 1),
]
DATES = datetime.date(1950, 1, 1), datetime.date(2100, 12, 31)


def pandas_times(name, start, count=40):
    return pd.date_range(start, periods=count, freq=name).to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize(("pandas_name", "start", "name", "season"), KINDS)
def test_the_frequency_and_its_season_are_found(pandas_name, start, name, season):
    times = pandas_times(pandas_name, start)
    freq = infer_frequency([times])
    assert (str(freq), find_season(freq)) == (name, season)
    gaps = np.delete(times, [3, 4, 11, 12, 13, 20])
    assert infer_frequency([gaps[:9], gaps[9:]]) == freq
    given_freq = parse_frequency("f", pandas_name)
    assert given_freq.size == freq.size
    assert given_freq.unit == freq.unit.split()[0]


@pytest.mark.parametrize(("pandas_name", "start", "name", "season"), KINDS)
def test_the_grid_is_that_of_pandas(pandas_name, start, name, season):
    del name, season
    times = pandas_times(pandas_name, start)
    freq = infer_frequency([times])
    assert freq is not None
    for first in (0, 7):
        np.testing.assert_array_equal(
            step_times(freq, times[first], np.arange(40) - first), times, strict=True
        )
        np.testing.assert_array_equal(count_steps(freq, times[first], times), np.arange(40) - first)


@pytest.mark.parametrize(
    "name", ["30min", "h", "D", "W", "MS", "ME", "QS", "QE", "YS", "YE", "250ms", "5us", "7"]
)
def test_a_name_is_read_back(name):
    freq = parse_frequency("f", name)
    assert str(freq).replace("S", "E") == name.replace("S", "E")


def test_old_names_of_pandas_are_read():
    for old, new in {"T": "min", "H": "h", "M": "MS", "Q": "QS", "A": "YS", "AS-JUL": "Y"}.items():
        assert parse_frequency("f", old) == parse_frequency("f", new)
    assert parse_frequency("f", 12) == Frequency("integer", 12)


@given(st.integers(1, 12), st.integers(-60, 60), st.dates(DATES[0], DATES[1]), st.booleans())
def test_months_go_both_ways(count, steps, start, end):
    month = pd.Period(start, "M")
    time = month.end_time.floor("D") if end else pd.Timestamp(start).replace(day=start.day % 28 + 1)
    time = time.to_datetime64().astype("datetime64[us]")
    freq = Frequency("month end" if end else "month", count)
    there = step_times(freq, time, np.array([steps]))
    assert count_steps(freq, time, there) == steps
    assert step_times(freq, there[0], np.array([-steps])) == time
    if not end:
        offset = pd.DateOffset(months=count * steps)
        assert there[0] == np.datetime64(pd.Timestamp(time) + offset, "us")


def test_integers_have_a_frequency_and_no_season():
    freq = infer_frequency([np.array([1990, 1995, 2000, 2010]), np.array([5, 10])])
    assert (freq, str(freq)) == (Frequency("integer", 5), "5")
    assert find_season(freq) == 1
    np.testing.assert_array_equal(step_times(freq, np.int64(3), np.array([0, 2])), [3, 13])
    np.testing.assert_array_equal(count_steps(freq, np.int64(3), np.array([3, 13, 14])), [0, 2, 2])


def test_steps_of_four_weeks_are_no_months():
    times = pandas_times("28D", "2023-02-01")
    assert infer_frequency([times]) == parse_frequency("f", "4W")
    assert infer_frequency([times[:1]]) is None


@pytest.mark.parametrize("day", ["2023-02-01", "2023-02-28", "2023-03-31"])
def test_the_hours_of_one_day_are_no_months(day):
    assert str(infer_frequency([pandas_times("h", day, 24)])) == "h"
    assert str(infer_frequency([pandas_times("h", day, 2), pandas_times("h", day, 3)])) == "h"


@pytest.mark.parametrize("name", ["fortnight", "B", "0min", "-1", "1.5h", "", 0])
def test_an_unknown_frequency_is_one_clear_message(name):
    with refused(
        "read_series: freq must be 30min, h, D, W, MS, QS or YS, or a whole number from 1 for "
        f"times that are integers, got {name!r}."
    ):
        parse_frequency("read_series", name)
