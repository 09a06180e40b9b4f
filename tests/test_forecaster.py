"""The forecaster: numbers of the command, of the net by itself and of utilsforecast."""

import contextlib
import io
import pickle

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from forecast_files import COLUMNS, HORIZON, SEASON, make_rows, on_grid, write_rows
from polars.testing import assert_frame_equal
from refusals import refused
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from utilsforecast import losses as oracle

from gru_jax.app import inference
from gru_jax.app.cli import main
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.estimators import GRUForecaster

SETTINGS = {"horizon": HORIZON, "windows": 3, "model": "small", "batch": 16, "epochs": 2}
SETTINGS |= {"id": "place", "time": "day", "target": "sales", "future": "promo"}
FLAGS = ["--horizon", "9", "--windows", "3", "--model", "small", "--batch", "16", "--epochs", "2"]
QUICK = {"model": "small", "epochs": 1, "epoch_windows": 64, "windows": 1, "horizon": 2}


@pytest.fixture(scope="module")
def rows():
    return make_rows(np.random.default_rng(3))


def as_polars(frame):
    return pl.DataFrame({name: frame[name].to_list() for name in frame})


@pytest.fixture(scope="module")
def fitted(rows):
    return GRUForecaster(random_state=5, **SETTINGS).fit(as_polars(rows))


@pytest.fixture(scope="module")
def run(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("forecast")
    path = write_rows(folder / "sales.csv", rows)
    args = ["--data", str(path), *COLUMNS, *FLAGS, "--seed", "5", "--out", str(folder / "run")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["train", "forecast", *args]) == 0
    return folder


def test_forecasts_are_those_of_the_command_to_the_bit(run, fitted):
    expected = pd.read_csv(run / "run" / "forecast.csv", parse_dates=["ds"])
    actual = fitted.predict()
    assert actual.columns == list(expected)
    assert actual["unique_id"].to_list() == list(expected["unique_id"])
    np.testing.assert_array_equal(actual["ds"], expected["ds"])
    np.testing.assert_array_equal(actual[:, 2:], expected.iloc[:, 2:])


def test_a_frame_of_either_kind_and_files_give_the_same_forecast(fitted, rows, tmp_path):
    frame = as_polars(rows)
    frame.write_parquet(tmp_path / "sales.parquet")
    path = write_rows(tmp_path / "sales.csv", rows)
    for table in (frame, path, str(path), tmp_path / "sales.parquet"):
        assert_frame_equal(fitted.predict(table), fitted.predict(), check_exact=True)
    forecast = fitted.predict(rows)
    assert isinstance(forecast, pd.DataFrame)
    assert_frame_equal(as_polars(forecast), fitted.predict(), check_exact=True)


def test_another_table_is_forecast_behind_its_own_last_targets(fitted, rows):
    """A week less of one series, in other units: the net sees scaled values alone."""
    part = rows[rows["place"] == "a"].assign(place="new")
    last = part["day"].max() - pd.Timedelta(days=7)
    part = part[part["day"] <= last]
    ends = part["day"] > last - pd.Timedelta(days=HORIZON)
    part.loc[ends, "sales"] = np.nan
    forecast, scaled = map(fitted.predict, (part, part.assign(sales=part["sales"] * 1024)))
    assert set(forecast["unique_id"]) == {"new"}
    np.testing.assert_array_equal(forecast["ds"], pd.date_range(end=last, periods=HORIZON))
    quantiles, expected = (each.iloc[:, 2:].to_numpy("f4") for each in (scaled, forecast))
    np.testing.assert_array_equal(quantiles, 1024 * expected)
    other = fitted.predict(part.assign(promo=np.where(ends, 1 - part["promo"], part["promo"])))
    assert not np.array_equal(other["gru_jax"], forecast["gru_jax"])


def test_the_backtest_has_the_metrics_of_utilsforecast(run, fitted, rows):
    """On the command's file: its windows are those of the estimator."""
    frame = pd.read_csv(run / "run" / "backtest.csv", parse_dates=["ds", "cutoff"]).dropna()
    training = [
        pd.DataFrame({"unique_id": name, "ds": y.index, "y": y.to_numpy()})
        for name, y in on_grid(rows).items()
    ]
    assert list(fitted.backtest_) == ["gru_jax", "seasonal_naive"]
    for model, row in fitted.backtest_.items():
        mase = oracle.mase(frame, [model], SEASON, pd.concat(training))[model].mean()
        assert row["mase"] == pytest.approx(mase, rel=1e-10)
        together = frame.assign(unique_id="all").drop(columns="cutoff")
        for level in (80, 95):
            share = oracle.coverage(together, [model], level)[model].item()
            assert row[f"coverage_{level}"] == pytest.approx(share, rel=1e-10)
    assert fitted.backtest_["gru_jax"]["targets"] == len(frame)


def test_the_attributes_are_those_of_the_command_s_run(run, fitted):
    trained = inference.load_trained(run / "run")
    assert fitted.facts_ == trained.facts
    assert fitted.net_ == trained.net
    jax.tree.map(np.testing.assert_array_equal, fitted.params_, trained.params)
    assert [row["epoch"] for row in fitted.history_] == [1, 2]


def test_the_settings_are_the_command_s_with_its_defaults():
    settings, config = GRUForecaster().get_params(), vars(ForecastConfig())
    assert settings.pop("random_state") == config.pop("seed")
    assert settings == {n: v for n, v in config.items() if n not in ("data", "init_from", "seeds")}


def draw_waves():
    """Returns sines of unequal lengths, sizes and phases, and how they go on."""
    steps = [np.arange(size + 12) for size in (300, 250)]
    ys = [(i + 1) * np.sin(2 * np.pi * t / 17.3 + i) + 5 for i, t in enumerate(steps)]
    return [y[:-12] for y in ys], np.stack([y[-12:] for y in ys])


@pytest.fixture(scope="module")
def waves():
    """A forecaster of arrays, and how these go on."""
    ys, ahead = draw_waves()
    model = GRUForecaster(horizon=12, model="small", epochs=25, dropout=0.0, batch=16, level=50)
    return model.set_params(learning_rate=1e-2).fit(ys), ahead


def test_a_sine_goes_on(waves):
    """Its period is no season: neither the mean nor the last value is of any use."""
    model, ahead = waves
    ys, forecast = draw_waves()[0], model.predict()
    assert forecast.columns == ["unique_id", "ds", "gru_jax", "gru_jax-lo-50", "gru_jax-hi-50"]
    errors = np.abs(forecast["gru_jax"].to_numpy().reshape(2, 12) - ahead).mean(1)
    for i, y in enumerate(ys):
        for simple in (y.mean(), y[-1]):
            assert errors[i] < 0.15 * np.abs(simple - ahead[i]).mean()
    assert model.backtest_["gru_jax"]["mae"] < 0.15 * model.backtest_["seasonal_naive"]["mae"]


def test_arrays_are_a_table_with_integer_times(waves):
    model, _ = waves
    ys, forecast = draw_waves()[0], model.predict()
    assert forecast["unique_id"].to_list() == ["0"] * 12 + ["1"] * 12
    assert forecast["ds"].to_list() == [*range(300, 312), *range(250, 262)]
    names = np.repeat(["0", "1"], [300, 250])
    steps = np.concatenate([np.arange(300), np.arange(250)])
    frame = pl.DataFrame({"ds": steps, "unique_id": names, "y": np.concatenate(ys)})
    for table in (ys, tuple(ys), [y.tolist() for y in ys], frame):
        assert_frame_equal(model.predict(table), forecast, check_exact=True)
    for one in (ys[0], ys[0].tolist(), ys[:1]):
        # XLA multiplies a batch of one in another order than a batch of two.
        assert_frame_equal(model.predict(one), forecast[:12], rel_tol=1e-6)


def test_a_series_of_pandas_is_an_array():
    y = pd.Series(np.sin(np.arange(80.0)))
    forecast = GRUForecaster(**QUICK).fit(y).predict()
    assert isinstance(forecast, pd.DataFrame)
    assert_frame_equal(as_polars(forecast), GRUForecaster(**QUICK).fit(y.to_numpy()).predict())


def test_missing_values_of_arrays_stay_missing():
    y = np.sin(np.arange(80.0))
    y[[20, -1]] = np.nan
    model = GRUForecaster(**QUICK).fit(y)
    assert model.predict()["ds"].to_list() == [79, 80]
    assert np.isnan(model._table.series[0].y[20])


def test_without_test_windows_all_steps_are_for_training_and_validation():
    y = np.sin(np.arange(60.0))
    model = GRUForecaster(**QUICK | {"windows": 0, "lookback": 4, "validation": 3}).fit(y)
    assert model.backtest_ == {}
    assert len(model.predict()) == 2
    with refused(
        "split_windows: series '0' must have 61 steps or more: 53 of look-back and 2 of horizon to "
        "train on, and 6 of validation and test, got 60; fewer windows or a shorter "
        "horizon would do."
    ):
        model.set_params(lookback=53).fit(y)
    # Three overlapping windows for validation hold out 4 steps: (12 - 4 - 2) // 2.
    model.set_params(lookback=None, step=1).fit(y[:12])
    assert model.facts_["lookback"] == 3


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_come_out_as_they_went_in(zone):
    times = pd.date_range("2024-03-30", periods=80, freq="h", tz="UTC").tz_convert(zone)
    frame = pd.DataFrame({"ds": times, "y": np.sin(np.arange(80.0))})
    model = GRUForecaster(target="y", freq="h", **QUICK).fit(frame)
    actual = model.predict()["ds"]
    assert getattr(actual.dt, "tz", None) == (zone and actual.dt.tz)
    expected = pd.date_range(times[-1], periods=3, freq="h")[1:]
    assert (pd.DatetimeIndex(actual) == expected).all()
    other = model.predict(as_polars(frame))["ds"]
    assert other.dtype == pl.Datetime("us", zone and "UTC")
    assert (pd.to_datetime(list(other)) == expected).all()


def test_pickling_and_cloning_keep_what_they_should(fitted, rows):
    copy = pickle.loads(pickle.dumps(fitted))
    assert_frame_equal(copy.predict(), fitted.predict(), check_exact=True)
    assert_frame_equal(copy.predict(as_polars(rows)), fitted.predict(), check_exact=True)
    assert copy.backtest_ == fitted.backtest_
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert repr(fresh) == repr(fitted)
    with pytest.raises(NotFittedError, match=r"^This GRUForecaster instance is not fitted yet"):
        fresh.predict(rows)


def test_a_random_state_draws_the_seed():
    y = np.sin(np.arange(80.0))
    one, two = (GRUForecaster(random_state=np.random.RandomState(s), **QUICK) for s in (0, 1))
    seeds = [model.fit(y)._config.seed for model in (one, two, one)]
    assert seeds[0] == np.random.RandomState(0).randint(2**31)
    assert len(set(seeds)) == 3


def test_a_wrong_table_to_forecast_is_one_clear_line(fitted, rows):
    known = rows[rows["sales"].notna()]
    last = pd.to_datetime(known.loc[known["place"] == "a", "day"]).max()
    first, end = (f"{last + pd.Timedelta(days=days):%Y-%m-%d}" for days in (1, 9))
    with refused(
        f"series 'a' must have promo for 9 steps after its last target, got 0, none from {first} "
        f"to {end}."
    ):
        fitted.predict(known)
    with pytest.raises(ValueError, match=r"^table must have a column 'promo', but its columns are"):
        fitted.predict(rows.drop(columns="promo"))
    with pytest.raises(ValueError, match=r"^forecast_windows: series 'a' must have \d+ steps or"):
        fitted.predict(rows[182:])
    with refused("GRUForecaster: y must be None, as X holds the targets, got Series."):
        fitted.fit(rows, rows["sales"])


def test_scikit_learn_s_checks_of_what_is_not_fitted_pass():
    results = check_estimator(GRUForecaster(**QUICK), on_fail=None, on_skip=None)
    passed = {row["check_name"] for row in results if row["status"] == "passed"}
    assert passed >= {
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_estimators_unfitted",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
    }


def test_arrays_with_scales_of_their_own_are_known_by_their_place():
    ys = [np.sin(np.arange(60.0)), 1000 + 50 * np.cos(np.arange(70.0))]
    settings = QUICK | {"model": "segrnn", "scale": "series", "horizon": np.int64(2)}
    model = GRUForecaster(learning_rate=np.float64(1e-3), **settings).fit(ys)
    assert_frame_equal(model.predict(ys), model.predict())
    assert model.predict()["gru_jax"][2:].mean() > 900
    with refused(
        "GRUForecaster: X must be 2 arrays, as in fit, for each has a scale or a vector of its "
        "own, got 1."
    ):
        model.predict(ys[1])
