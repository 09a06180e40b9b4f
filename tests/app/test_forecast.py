"""A user's table becomes a forecaster: metrics against utilsforecast, files, the baseline."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from forecast_files import (
    COLUMNS,
    HORIZON,
    OPTIONS,
    SEASON,
    SIZES,
    WINDOWS,
    on_grid,
    read_back,
    write_rows,
)
from scipy.stats import norm
from utilsforecast import losses as oracle

import gru_jax as gj
from gru_jax import interop, plot
from gru_jax.app import inference, runs, settings
from gru_jax.app import problem as problems
from gru_jax.app.cli import main
from gru_jax.app.tasks import forecast_data
from gru_jax.app.tasks.forecast import FORECAST

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
BANDS = ["-lo-95", "-lo-80", "", "-hi-80", "-hi-95"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, sales):
    folder = tmp_path_factory.mktemp("runs") / "x"
    args = ["--data", str(sales[1]), *COLUMNS, *OPTIONS]
    assert main(["train", "forecast", *args, "--out", str(folder)]) == 0
    return folder


def read_result(run):
    return json.loads((run / "result.json").read_text())


def test_a_known_effect_is_learned_and_the_baseline_beaten(run):
    result = read_result(run)
    for name in ("scaled_crps", "mae", "mse"):
        assert result[f"test_{name}"] < 0.6 * result[f"test_{name}_seasonal_naive"]
    assert result["seconds"] < 120


def test_the_metrics_are_those_of_utilsforecast_on_the_backtest_read_back(run, sales):
    result, frame = read_result(run), read_back(run / "backtest.csv")
    assert result["test_windows"] == 2 * WINDOWS
    assert len(frame) == 2 * WINDOWS * HORIZON
    frame = frame.dropna(subset=["y"])
    assert result["test_targets"] == len(frame) < 2 * WINDOWS * HORIZON
    training = [
        pd.DataFrame({"unique_id": name, "ds": y.index, "y": y.to_numpy()})
        for name, y in on_grid(sales[0]).items()
    ]
    together = frame.assign(unique_id="all").drop(columns="cutoff")
    for model, ending in {"gru_jax": "", "seasonal_naive": "_seasonal_naive"}.items():
        bands = [f"{model}{band}" for band in BANDS]
        expected = {
            "mase": oracle.mase(frame, [model], SEASON, pd.concat(training))[model].mean(),
            "scaled_crps": oracle.scaled_crps(together, {model: bands}, np.array(QUANTILES)),
            "mae": oracle.mae(together, [model]),
            "mse": oracle.mse(together, [model]),
            "coverage_80": oracle.coverage(together, [model], 80),
            "coverage_95": oracle.coverage(together, [model], 95),
        }
        for name, value in expected.items():
            value = value[model].item() if isinstance(value, pd.DataFrame) else value
            assert result[f"test_{name}{ending}"] == pytest.approx(value, rel=1e-10), name


def test_the_metrics_of_each_series_are_those_of_utilsforecast(run, sales):
    frame = read_back(run / "backtest.csv").dropna(subset=["y"])
    actual = pd.read_csv(run / "evaluation.csv")
    models = ["gru_jax", "seasonal_naive"]
    assert list(actual) == ["unique_id", "metric", *models]
    assert list(actual["unique_id"].unique()) == list(SIZES)
    actual = actual.set_index(["metric", "unique_id"])
    training = [
        pd.DataFrame({"unique_id": name, "ds": y.index, "y": y.to_numpy()})
        for name, y in on_grid(sales[0]).items()
    ]
    windows = frame.groupby("unique_id")
    expected = {
        "mase": oracle.mase(frame, models, SEASON, pd.concat(training))
        .groupby("unique_id")[models]
        .mean(),
        "scaled_crps": windows.apply(crps, include_groups=False),
        "mae": oracle.mae(frame.drop(columns="cutoff"), models).set_index("unique_id"),
        "mse": oracle.mse(frame.drop(columns="cutoff"), models).set_index("unique_id"),
        "coverage_80": oracle.coverage(frame.drop(columns="cutoff"), models, 80).set_index(
            "unique_id"
        ),
    }
    assert {*expected, "coverage_95"} == set(actual.index.get_level_values("metric"))
    for metric, values in expected.items():
        for name in SIZES:
            np.testing.assert_allclose(
                actual.loc[(metric, name)], values.loc[name][models], rtol=1e-10, err_msg=metric
            )


def crps(frame):
    models = {name: [f"{name}{band}" for band in BANDS] for name in ("gru_jax", "seasonal_naive")}
    frame = frame.assign(unique_id="all").drop(columns="cutoff")
    return oracle.scaled_crps(frame, models, np.array(QUANTILES)).drop(columns="unique_id").iloc[0]


def test_the_figures_show_the_last_window_and_the_forecast(run, sales, tmp_path, monkeypatch):
    drawn, draw = [], plot.forecast

    def record(truth, prediction, ax, **options):
        drawn.append((truth, prediction, options))
        return draw(truth, prediction, ax, **options)

    monkeypatch.setattr(plot, "forecast", record)
    trained = inference.load_trained(run)
    paths = FORECAST.figures(trained, FORECAST.load(trained.config).test, tmp_path)
    assert [path.name for path in paths] == ["backtest.png", "forecast.png"]
    tables = [read_back(run / f"{name}.csv") for name in ("backtest", "forecast")]
    wanted = [(table, name) for table in tables for name in SIZES]
    for (table, name), (truth, prediction, options) in zip(wanted, drawn, strict=True):
        rows = table[table["unique_id"] == name].iloc[-HORIZON:]
        back, times = options["start"], options["times"]
        np.testing.assert_array_equal(times[back:], rows["ds"])
        # float32, and a batch of other windows may be rounded otherwise.
        for values, column in (
            (prediction, "gru_jax"),
            (options["lower"], "gru_jax-lo-80"),
            (options["upper"], "gru_jax-hi-80"),
        ):
            np.testing.assert_allclose(values, rows[column], rtol=2e-6)
        y = on_grid(sales[0])[name].reindex(pd.DatetimeIndex(times))
        np.testing.assert_allclose(truth, y, rtol=1e-6)
        assert options["ylabel"] == name


def test_the_baseline_goes_back_to_the_last_week_that_is_observed(run, sales):
    frame, series = read_back(run / "backtest.csv"), on_grid(sales[0])
    for row in frame.itertuples():
        past = series[row.unique_id][: row.cutoff]
        day, weeks = row.ds, 0
        while day > row.cutoff or np.isnan(past[day]):
            day, weeks = day - pd.Timedelta(days=7), weeks + 1
        assert row.seasonal_naive == pytest.approx(past[day], rel=1e-12)
        change = (past - past.shift(7)).dropna()
        half = norm.ppf(0.9) * np.sqrt((change**2).mean() * weeks)
        high = frame["seasonal_naive-hi-80"][row.Index]
        assert high == pytest.approx(past[day] + half, rel=1e-6)  # float32 in the file


def test_the_backtest_holds_the_last_windows_and_the_truth(run, sales):
    frame, series = read_back(run / "backtest.csv"), on_grid(sales[0])
    for name, part in frame.groupby("unique_id", sort=False):
        y = series[name]
        expected = y.iloc[-WINDOWS * HORIZON :]
        np.testing.assert_array_equal(part["ds"], expected.index)
        np.testing.assert_array_equal(part["y"], expected)
        cutoffs = np.repeat(y.index[-WINDOWS * HORIZON - 1 :: HORIZON][:WINDOWS], HORIZON)
        np.testing.assert_array_equal(part["cutoff"], cutoffs)


def test_the_forecast_goes_on_behind_the_last_target(run, sales, tmp_path, capsys):
    text = (run / "forecast.csv").read_text()
    bands = [f"gru_jax-{end}-{level}" for level in (80, 95) for end in ("lo", "hi")]
    assert text.splitlines()[0].split(",") == ["unique_id", "ds", "gru_jax", *bands]
    frame = read_back(run / "forecast.csv")
    for name, part in frame.groupby("unique_id", sort=False):
        last = on_grid(sales[0])[name].index[-1]
        np.testing.assert_array_equal(
            part["ds"], pd.date_range(last, periods=HORIZON + 1, freq="D")[1:]
        )
    assert list(frame["unique_id"].unique()) == list(SIZES)
    for path in ("forecast.csv", "backtest.csv"):
        values = read_back(run / path)[[f"gru_jax{band}" for band in BANDS]].to_numpy()
        assert (np.diff(values, axis=1) >= 0).all()
    capsys.readouterr()
    assert main(["predict", str(run), "--input", str(sales[1])]) == 0
    assert capsys.readouterr().out == text
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), "--input", str(sales[1]), "--output", str(out)]) == 0
    assert out.read_text() == text


def test_a_forecast_does_not_see_what_is_not_known_yet(run, sales, tmp_path):
    """Without the last window's sales, its forecast is that of the backtest."""
    rows = sales[0].copy()
    for name, y in on_grid(rows).items():
        late = (rows["place"] == name) & (rows["day"] > y.index[-1 - HORIZON])
        rows.loc[late, "sales"] = np.nan
    path = write_rows(tmp_path / "earlier.csv", rows)
    assert (
        main(["predict", str(run), "--input", str(path), "--output", str(tmp_path / "o.csv")]) == 0
    )
    actual = read_back(tmp_path / "o.csv").set_index(["unique_id", "ds"])
    expected = read_back(run / "backtest.csv").set_index(["unique_id", "ds"])
    both = actual.join(expected.add_suffix("_backtest"), how="inner")
    assert len(both) >= HORIZON
    for band in BANDS:
        name = f"gru_jax{band}"
        np.testing.assert_allclose(both[name], both[f"{name}_backtest"], rtol=1e-5)


def test_validation_measures_what_the_files_do(run):
    """The scaled CRPS over batches, in float32, is that of the backtest in float64."""
    trained = inference.load_trained(run)
    test = FORECAST.prepare(trained.facts, FORECAST.load(trained.config).test)
    actual = problems.measure(trained, test)["scaled_crps"]
    assert actual == pytest.approx(read_result(run)["test_scaled_crps"], rel=1e-5)


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_net_sees_the_calendar_and_the_last_season(run, part):
    """By a loop over days: waves of the week, and sales and promotion a week ago."""
    trained = inference.load_trained(run)
    facts, source = trained.facts, getattr(FORECAST.load(trained.config), part)
    stacks = forecast_data.in_order(FORECAST.prepare(facts, source), 999)
    batch = jax.tree.map(lambda a: a[0], next(stacks))
    names, lookback = facts["inputs"], facts["lookback"]
    assert names[:4] == ["y", "observed", "ahead", "promo"]
    assert names[-2:] == ["y last season", "promo last season"]
    columns = dict(zip(names, np.moveaxis(batch.xs, -1, 0), strict=True))
    place = names.index("sin week/2") - 3
    firsts = np.unique(source.windows.series, return_index=True)[1]
    for row in {*firsts, *firsts - 1, len(batch.xs) // 3} - {-1}:
        series = source.table.series[source.windows.series[row]]
        cutoff = source.windows.cutoffs[row]
        for i in range(lookback + HORIZON):
            day = cutoff - lookback + i
            back = day - SEASON
            while back >= cutoff:
                back -= SEASON
            y, promo = (series.y[back], series.future[back, 0]) if back >= 0 else (np.nan, np.nan)
            for earlier in range(back - SEASON, max(back - lookback, -1), -SEASON):
                y = series.y[earlier] if np.isnan(y) else y
            y = (y - batch.center[row]) / batch.scale[row]
            promo = (promo - facts["mean"][0]) / facts["std"][0]
            weekday = (series.times[0] + np.timedelta64(int(day), "D")).astype("datetime64[D]")
            wave = np.sin(2 * np.pi * 2 * (weekday.astype(int) % 7) / 7)
            wave = (wave - facts["mean"][place]) / facts["std"][place]
            expected = {"y last season": y, "promo last season": promo, "sin week/2": wave}
            for name, value in expected.items():
                value = 0 if np.isnan(value) else value
                assert columns[name][row, i] == pytest.approx(value, abs=1e-4), name


def test_series_that_end_at_different_times_are_told(run, sales):
    trained = inference.load_trained(run)
    words = FORECAST.describe(trained.config, trained.facts, FORECAST.load(trained.config))
    (early, late) = sorted((y.index[-1], name) for name, y in on_grid(sales[0]).items())
    assert words["ends"] == f"{early[0]:%Y-%m-%d} of {early[1]} to {late[0]:%Y-%m-%d}"


@pytest.mark.slow("trains a network")
def test_resuming_ends_in_the_same_bits(sales, tmp_path):
    args = ["--data", str(sales[1]), *COLUMNS, *OPTIONS[:-1], "3", "--epoch-windows", "64"]
    assert main(["train", "forecast", *args, "--out", str(tmp_path / "whole")]) == 0
    _, config = settings.read_config(tmp_path / "whole")
    part, _ = runs.begin(tmp_path / "part", FORECAST, config)
    calls = iter(range(9))
    _, reason = runs.train(part, lambda _: None, lambda: next(calls) == 1)
    assert reason == "stopped"
    assert main(["train", "--resume", "--out", str(tmp_path / "part")]) == 0
    nets = [interop.load(tmp_path / name / "best.safetensors")[1] for name in ("whole", "part")]
    for one, other in zip(*map(jax.tree.leaves, nets), strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("backtest.csv", "forecast.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "part" / name).read_text()


def test_the_other_commands_take_the_run(run, sales, tmp_path, capsys):
    assert main(["evaluate", str(run)]) == 0
    text = capsys.readouterr().out
    for word in ("scaled_crps", "mase", "coverage_80", "GRU (this run)", "seasonal naive"):
        assert word in text
    assert main(["evaluate", str(run), "--input", str(sales[1])]) == 0
    assert capsys.readouterr().out == text
    assert main(["convert", str(run), str(tmp_path / "net.safetensors")]) == 0
    net, params = gj.load(tmp_path / "net.safetensors")
    assert gj.count_parameters(params) == read_result(run)["parameters"]
    assert jax.eval_shape(net.apply, params, np.zeros((1, 9, 12), "float32"))[0].shape == (1, 9, 5)
    for name in ("backtest.png", "forecast.png"):
        assert (run / "figures" / name).stat().st_size > 10_000


@pytest.mark.slow("compiles and draws many figures")
def test_explain_looks_into_the_windows(run, sales, capsys):
    assert main(["explain", str(run)]) == 0
    assert f"sequences  {2 * WINDOWS}" in capsys.readouterr().out
    assert main(["explain", str(run), "--input", str(sales[1])]) == 0
    assert "sequences  2" in capsys.readouterr().out
