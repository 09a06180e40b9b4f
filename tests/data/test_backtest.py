"""Cutoffs of a backtest, and what is wrong with windows and cutoffs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from series_files import make_table

import gru_jax as gj


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 7), st.integers(0, 9))
def test_cutoffs_roll_up_to_the_end(horizon, windows, step, spare):
    needed = horizon + step * (windows - 1) + 1
    cutoffs = gj.make_cutoffs(needed + spare, horizon, windows, step)
    assert len(cutoffs) == windows
    assert cutoffs[-1] + horizon == needed + spare
    assert (np.diff(cutoffs) == step).all()
    assert cutoffs[0] == spare + 1
    default = gj.make_cutoffs(99, horizon, windows)
    np.testing.assert_array_equal(default, gj.make_cutoffs(99, horizon, windows, horizon))


NONE = gj.Standardization(*np.zeros((2, 0)))
TABLE = make_table(np.arange(20.0))
GAP = make_table([1.0] * 8 + [np.nan] * 8 + [1.0] * 4)

CASES = {
    "split_windows: lookback must be a whole number from 1, got 0.": (
        lambda: gj.split_windows(TABLE, 0, 4)
    ),
    "split_windows: horizon must be a whole number from 1, got 2.0.": (
        lambda: gj.split_windows(TABLE, 8, 2.0)
    ),
    "split_windows: step must be a whole number from 1, got 0.": (
        lambda: gj.split_windows(TABLE, 8, 2, step=0)
    ),
    "split_windows: test must be a whole number from 0, got -1.": (
        lambda: gj.split_windows(TABLE, 8, 2, test=-1)
    ),
    "split_windows: series 'a' must have 24 steps or more: 12 of look-back and 4 of horizon to "
    "train on, and 8 of validation and test, got 20; fewer windows or a shorter "
    "horizon would do.": lambda: gj.split_windows(TABLE, 12, 4),
    "split_windows: series 'a' must have 91 steps or more: 1 of look-back and 30 of horizon to "
    "train on, and 60 of validation and test, got 20; fewer windows or a shorter "
    "horizon would do.": lambda: gj.split_windows(TABLE, 1, 30),
    "split_windows: table must have a training window with an observed target in its look-back of "
    "8 and in its horizon of 4 steps, but has none.": lambda: gj.split_windows(GAP, 8, 4),
    "forecast_windows: series 'a' must have 21 steps or more, the look-back, got 20.": (
        lambda: gj.forecast_windows(TABLE, 21, 1, NONE)
    ),
    "forecast_windows: horizon must be a whole number from 1, got 0.": (
        lambda: gj.forecast_windows(TABLE, 4, 0, NONE)
    ),
    "forecast_windows: standardization must be of 0 covariates, as the table has, got 2.": (
        lambda: gj.forecast_windows(TABLE, 4, 1, gj.Standardization(*np.ones((2, 2))))
    ),
    "forecast_windows: series 'a' must have 4 steps or more, the look-back, got 3.": (
        lambda: gj.forecast_windows(TABLE, 4, 1, NONE, cutoffs=[np.array([3, 9])])
    ),
    "forecast_windows: cutoffs of series 'a' must be at most its 20 steps, got 21.": (
        lambda: gj.forecast_windows(TABLE, 4, 1, NONE, cutoffs=[np.array([9, 21])])
    ),
    "forecast_windows: cutoffs must be of 1 series, as the table has, got 2.": (
        lambda: gj.forecast_windows(TABLE, 4, 1, NONE, cutoffs=[np.array([9])] * 2)
    ),
    "make_cutoffs: length must be 13 or more for 3 windows of 4 steps, got 12.": (
        lambda: gj.make_cutoffs(12, 4, 3)
    ),
    "make_cutoffs: windows must be a whole number from 0, got -1.": (
        lambda: gj.make_cutoffs(12, 4, -1)
    ),
    "window_batches: batch_size must be a whole number from 1, got 0.": lambda: next(
        gj.window_batches(gj.split_windows(TABLE, 4, 2).train, 0)
    ),
    "window_batches: limit must be a whole number from 1, got 0.": lambda: next(
        gj.window_batches(gj.split_windows(TABLE, 4, 2).train, 1, limit=0)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
