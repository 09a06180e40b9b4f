"""Metrics of forecasts against utilsforecast, from random data of several series and cutoffs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from refusals import refused
from utilsforecast import losses as oracle

import gru_jax as gj

SEASON, QUANTILES = 4, (0.1, 0.25, 0.5, 0.9)
CUTOFFS = {"a": (31, 40), "b": (12, 19, 26), "c": (5, 50)}
HORIZON = 9


@pytest.fixture
def training(rng):
    """Returns the training part of each series and cutoff; a quarter of the values is missing."""
    series = {name: rng.normal(3, 2, 60) for name in CUTOFFS}
    for values in series.values():
        values[rng.random(60) < 0.25] = np.nan
    return {(name, c): series[name][:c] for name, cutoffs in CUTOFFS.items() for c in cutoffs}


@pytest.fixture
def problem(rng, training):
    """Returns predictions [window, time, quantile] and targets, some of them missing."""
    predictions = rng.normal(2, 2, (len(training), HORIZON, len(QUANTILES)))
    targets = rng.normal(2, 2, (len(training), HORIZON))
    targets[rng.random(targets.shape) < 0.2] = np.nan
    return np.sort(predictions, -1), targets


def as_frame(training, predictions, targets):
    """Returns the rows with a target as utilsforecast reads them."""
    rows = []
    for (name, cutoff), y, forecast in zip(training, targets, predictions, strict=True):
        columns = {"unique_id": name, "cutoff": cutoff, "ds": cutoff + 1 + np.arange(HORIZON)}
        columns |= {"y": y} | {f"q{i}": forecast[:, i] for i in range(len(QUANTILES))}
        columns |= {"q2-lo-80": forecast[:, 0], "q2-hi-80": forecast[:, 3]}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows).dropna()


def as_training_frame(training):
    longest = {name: training[name, max(cutoffs)] for name, cutoffs in CUTOFFS.items()}
    frames = [
        pd.DataFrame({"unique_id": name, "ds": 1 + np.arange(len(y)), "y": y})
        for name, y in longest.items()
    ]
    return pd.concat(frames)


def ordered(frame, training, column):
    rows = frame.set_index(["unique_id", "cutoff"])[column]
    return np.array([rows[name, cutoff] for name, cutoff in training])


@pytest.mark.parametrize("name", ["mae", "mse"])
def test_errors_agree_with_utilsforecast(name, problem, training):
    predictions, targets = problem
    frame = as_frame(training, predictions, targets)
    expected = ordered(getattr(oracle, name)(frame, ["q2"]), training, "q2")
    actual = getattr(gj, name)(predictions[..., 2], targets)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_mase_agrees_with_utilsforecast(problem, training):
    predictions, targets = problem
    frame = as_frame(training, predictions, targets)
    rows = oracle.mase(frame, ["q2"], SEASON, as_training_frame(training))
    longest = max(map(len, training.values()))
    padded = [np.pad(y, (longest - len(y), 0), constant_values=np.nan) for y in training.values()]
    actual = gj.mase(predictions[..., 2], targets, np.stack(padded), SEASON)
    np.testing.assert_allclose(actual, ordered(rows, training, "q2"), rtol=1e-12)
    one = [
        gj.mase(p, t, y, SEASON)
        for p, t, y in zip(predictions[..., 2], targets, training.values(), strict=True)
    ]
    np.testing.assert_allclose(one, actual, rtol=1e-12)


def test_scaled_crps_agrees_with_utilsforecast(problem, training):
    predictions, targets = problem
    frame = as_frame(training, predictions, targets)
    columns = [f"q{i}" for i in range(len(QUANTILES))]
    rows = oracle.scaled_crps(frame, {"net": columns}, np.array(QUANTILES))
    actual = gj.scaled_crps(predictions, targets, QUANTILES)
    np.testing.assert_allclose(actual, ordered(rows, training, "net"), rtol=1e-12)


def test_coverage_agrees_with_utilsforecast(problem, training):
    predictions, targets = problem
    for step, end in ((3, 3), (5, 0)):  # both ends are inside
        targets = np.where(np.arange(HORIZON) == step, predictions[..., end], targets)
    frame = as_frame(training, predictions, targets)
    expected = ordered(oracle.coverage(frame, ["q2"], 80), training, "q2")
    actual = gj.coverage(predictions[..., 0], predictions[..., 3], targets)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert 0 < actual.mean() < 1


@pytest.mark.usefixtures("x64")
def test_quantile_loss_agrees_with_utilsforecast(problem, training):
    predictions, targets = problem
    frame = as_frame(training, predictions, targets)
    actual = gj.quantile_loss(predictions, targets, QUANTILES)
    assert actual.shape == predictions.shape
    for i, q in enumerate(QUANTILES):
        rows = oracle.quantile_loss(frame, {"net": f"q{i}"}, q)
        mean = np.nanmean(actual[..., i], -1)
        np.testing.assert_allclose(mean, ordered(rows, training, "net"), rtol=1e-12)


def test_a_missing_target_has_no_gradient(problem):
    predictions, targets = (jnp.asarray(each, jnp.float32) for each in problem)
    valid = jnp.broadcast_to(~jnp.isnan(targets)[..., None], predictions.shape)

    @jax.jit
    def loss(predictions):
        return gj.masked_mean(gj.quantile_loss(predictions, targets, QUANTILES), valid)

    grad = np.asarray(jax.grad(loss)(predictions))
    below = np.asarray(targets[..., None] >= predictions)
    want = np.where(below, -np.array(QUANTILES), 1 - np.array(QUANTILES)) / np.asarray(valid).sum()
    np.testing.assert_allclose(grad, np.where(valid, want, 0), rtol=1e-5)


def test_the_best_constant_is_the_quantile(rng):
    y = rng.normal(size=2001).astype(np.float32)
    candidates = np.linspace(-2, 2, 401, dtype=np.float32)
    grid = jnp.broadcast_to(candidates[:, None, None], (401, 2001, 3))
    losses = gj.quantile_loss(grid, np.tile(y, (401, 1)), (0.1, 0.5, 0.8)).mean(1)
    best = candidates[np.argmin(losses, 0)]
    np.testing.assert_allclose(best, np.quantile(y, (0.1, 0.5, 0.8)), atol=0.02)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_quantile_loss_keeps_its_dtype_where_promotion_is_strict(dtype):
    with jax.numpy_dtype_promotion("strict"):
        loss = gj.quantile_loss(jnp.zeros((2, 1), dtype), jnp.ones(2, dtype), [0.25])
    assert loss.dtype == dtype
    np.testing.assert_array_equal(loss, 0.25)


def test_what_is_not_defined_is_nan():
    targets, missing = np.ones(3), np.full(3, np.nan)
    assert np.isnan(gj.mae(targets, missing))
    assert np.isnan(gj.coverage(targets, targets, missing))
    assert np.isnan(gj.scaled_crps(np.ones((3, 1)), np.zeros(3), [0.5]))
    seasonal = np.tile([1.0, 5.0], 6)
    assert np.isnan(gj.mase(targets + 1, targets, seasonal, 2))
    assert gj.mase(targets + 1, targets, seasonal, 1) == 0.25
    for season in (3, 4):
        assert np.isnan(gj.mase(targets, targets, np.arange(3.0), season))
    both = gj.mae(np.zeros((2, 3)), np.stack([targets, missing]))
    np.testing.assert_array_equal(both, [1, np.nan])


def test_levels_are_quantiles_with_the_names_of_their_columns():
    assert gj.level_quantiles([80]) == (0.1, 0.5, 0.9)
    assert gj.level_quantiles((80, 95)) == (0.025, 0.1, 0.5, 0.9, 0.975)
    assert gj.level_quantiles([]) == (0.5,)
    assert gj.level_columns((80, 99.5)) == (
        *("gru_jax-lo-99.5", "gru_jax-lo-80", "gru_jax", "gru_jax-hi-80", "gru_jax-hi-99.5"),
    )
    assert gj.level_columns([90.0], "naive") == ("naive-lo-90", "naive", "naive-hi-90")


ONE = np.ones(3)
CASES = {
    "mae: predictions must be [*batch, time], one for each of the targets [3], got [2].": (
        lambda: gj.mae(ONE[:2], ONE)
    ),
    "mse: predictions must be [*batch, time], one for each of the targets [], got [].": (
        lambda: gj.mse(ONE[0], ONE[0])
    ),
    "coverage: upper must be [*batch, time], one for each of the targets [3], got [1].": (
        lambda: gj.coverage(ONE, ONE[:1], ONE)
    ),
    "mase: training must be [2, time] to match targets, got float64[3].": (
        lambda: gj.mase(np.ones((2, 3)), np.ones((2, 3)), ONE, 1)
    ),
    "mase: season must be a whole number from 1, got 0.": lambda: gj.mase(ONE, ONE, ONE, 0),
    "mase: season must be a whole number from 1, got 1.5.": lambda: gj.mase(ONE, ONE, ONE, 1.5),
    "scaled_crps: quantiles must be numbers between 0 and 1, got [0.5, 1].": (
        lambda: gj.scaled_crps(np.ones((3, 2)), ONE, [0.5, 1])
    ),
    "quantile_loss: quantiles must be numbers between 0 and 1, got 0.5.": (
        lambda: gj.quantile_loss(np.ones((3, 1)), ONE, 0.5)
    ),
    "quantile_loss: predictions must be (3, 2), 2 quantiles for each of the targets (3,), "
    "got (3, 1).": lambda: gj.quantile_loss(np.ones((3, 1)), ONE, [0.1, 0.5]),
    "level_quantiles: levels must be different numbers from 1 to below 100, in per cent, "
    "got [80, 100].": (lambda: gj.level_quantiles([80, 100])),
    "level_columns: levels must be different numbers from 1 to below 100, in per cent, "
    "got [80, 80].": (lambda: gj.level_columns([80, 80])),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
