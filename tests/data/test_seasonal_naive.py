"""The seasonal naive forecast against the textbook's loop and SciPy's normal quantiles."""

import numpy as np
import pytest
from refusals import refused
from scipy.stats import norm

import gru_jax as gj

QUANTILES = (0.025, 0.1, 0.5, 0.9)


def by_hand(y, season, horizon, quantiles):
    """Returns the forecast step by step: go back whole seasons to a value that is observed."""
    pairs = [(y[t] - y[t - season]) ** 2 for t in range(season, len(y))]
    pairs = [each for each in pairs if not np.isnan(each)]
    variance = sum(pairs) / len(pairs)
    forecast = np.full((horizon, len(quantiles)), np.nan)
    for h in range(horizon):
        t, seasons = len(y) + h, 0
        while t >= len(y) or (t >= 0 and np.isnan(y[t])):
            t, seasons = t - season, seasons + 1
        if t >= 0:
            for i, q in enumerate(quantiles):
                forecast[h, i] = y[t] + np.sqrt(variance * seasons) * norm.ppf(q)
    return forecast


@pytest.mark.parametrize("season", [1, 4, 7])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_it_is_the_textbooks(rng, season, missing):
    y = rng.normal(5, 2, (6, 29))
    y[rng.random(y.shape) < missing] = np.nan
    y[0, -2 * season :: season] = np.nan
    actual = gj.seasonal_naive(y, season, 17, QUANTILES)
    expected = np.stack([by_hand(each, season, 17, QUANTILES) for each in y])
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gj.seasonal_naive(y[2], season, 17, QUANTILES), actual[2])


def test_its_intervals_cover_a_seasonal_random_walk(rng):
    steps = rng.normal(size=(3000, 15, 4)).cumsum(1).reshape(3000, 60)
    low, high = np.moveaxis(gj.seasonal_naive(steps[:, :48], 4, 12, (0.1, 0.9)), -1, 0)
    shares = gj.coverage(low, high, steps[:, 48:])
    assert abs(shares.mean() - 0.8) < 0.02


def test_without_residuals_only_the_median_is_known():
    y = np.array([np.nan, 2.0, 3.0, np.nan])
    forecast = gj.seasonal_naive(y, 2, 3, (0.1, 0.5))
    np.testing.assert_array_equal(forecast, [[np.nan, 3], [np.nan, 2], [np.nan, 3]])
    never = gj.seasonal_naive(np.array([1.0, np.nan, 2.0]), 2, 2, (0.5,))
    np.testing.assert_array_equal(never, [[np.nan], [2]])


CASES = {
    "seasonal_naive: season must be a whole number from 1, got 0.": (0, 1, [0.5]),
    "seasonal_naive: horizon must be a whole number from 1, got 1.5.": (1, 1.5, [0.5]),
    "seasonal_naive: quantiles must be numbers between 0 and 1, got [1].": (1, 1, [1]),
    "seasonal_naive: y must have more steps than a season of 3, got (3,).": (3, 1, [0.5]),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        gj.seasonal_naive(np.zeros(3), *CASES[message])
