"""The published net of a forecast: what it reads, what it minimises, and what it refuses."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from forecast_files import COLUMNS, HORIZON, SIZES, WINDOWS, on_grid, read_back, write_rows

from gru_jax.app import inference
from gru_jax.app.cli import main
from gru_jax.app.tasks import forecast_data
from gru_jax.app.tasks.forecast import FORECAST

SEGRNN = [*COLUMNS[:6], "--model", "segrnn", "--scale", "series", "--horizon", str(HORIZON)]
QUICK = ["--windows", str(WINDOWS), "--epochs", "2", "--epoch-windows", "200"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, sales):
    folder = tmp_path_factory.mktemp("runs") / "x"
    args = ["--data", str(sales[1]), *SEGRNN, *QUICK, "--out", str(folder)]
    assert main(["train", "forecast", *args]) == 0
    return folder


def find_scales(run, rows):
    """Returns mean and deviation of each place's sales before the first validation target."""
    trained = inference.load_trained(run)
    validation = FORECAST.load(trained.config).validation.windows
    scales = {}
    for i, (name, y) in enumerate(on_grid(rows).items()):
        known = y.iloc[: validation.cutoffs[validation.series == i].min()]
        scales[name] = known.mean(), known.std(ddof=0)
    return scales


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_reads_scaled_sales_and_the_number_of_the_place(run, sales, part):
    trained = inference.load_trained(run)
    facts, source = trained.facts, getattr(FORECAST.load(trained.config), part)
    batch = next(forecast_data.in_order(FORECAST.prepare(facts, source), 999))
    scales, series = find_scales(run, sales[0]), list(on_grid(sales[0]).items())
    lookback = facts["lookback"]
    for row in {0, len(source.windows.starts) - 1, len(source.windows.starts) // 2}:
        place, cutoff = source.windows.series[row], source.windows.cutoffs[row]
        name, y = series[place]
        mean, deviation = scales[name]
        scaled = ((y - mean) / deviation).to_numpy()
        np.testing.assert_allclose(
            batch.xs[0, row, :, 0], scaled[cutoff - lookback : cutoff], atol=1e-5
        )  # in float32, of sales of 140
        np.testing.assert_array_equal(batch.xs[0, row, :, 1], place)
        ahead = scaled[cutoff : cutoff + HORIZON]
        np.testing.assert_allclose(batch.targets[0, row], np.nan_to_num(ahead), atol=1e-5)
        np.testing.assert_array_equal(batch.observed[0, row], ~np.isnan(ahead))


def test_scaled_errors_are_in_deviations_of_the_training_steps(run, sales):
    frame, scales = read_back(run / "backtest.csv").dropna(subset=["y"]), find_scales(run, sales[0])
    deviation = frame["unique_id"].map({name: scale for name, (_, scale) in scales.items()})
    result = json.loads((run / "result.json").read_text())
    for model, ending in {"gru_jax": "", "seasonal_naive": "_seasonal_naive"}.items():
        errors = ((frame[model] - frame["y"]) / deviation).to_numpy()
        assert result[f"test_scaled_mse{ending}"] == pytest.approx((errors**2).mean(), rel=1e-5)
        assert result[f"test_scaled_mae{ending}"] == pytest.approx(abs(errors).mean(), rel=1e-5)
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    lowest = min(row["validation_scaled_mse"] for row in rows)
    assert result["validation_scaled_mse"] == lowest


def test_it_minimises_the_squared_error_beside_the_other_quantiles(run):
    trained = inference.load_trained(run)
    test = FORECAST.prepare(trained.facts, FORECAST.load(trained.config).test)
    batch = jax.tree.map(lambda a: a[0], next(forecast_data.in_order(test, 999)))
    outputs = np.asarray(trained.net.apply(trained.params, batch.xs)[0], float)
    losses = np.zeros(outputs.shape[:2])
    for i, q in enumerate((0.025, 0.1, 0.5, 0.9, 0.975)):
        error = batch.targets - outputs[..., i]
        losses += (error**2 if q == 0.5 else np.maximum(q * error, (q - 1) * error)) / 5
    expected = losses[batch.observed].mean()
    total, weight = FORECAST.loss(trained.config, trained.facts, outputs, batch)
    assert total.sum() / weight.sum() == pytest.approx(expected, rel=1e-5)


def test_a_mean_stays_in_its_place_between_quantiles(run):
    trained = inference.load_trained(run)
    outputs = np.array([[[0.0, 3.0, 5.0, 1.0, 2.0]] * HORIZON], "float32")
    zeros = np.zeros((1, HORIZON), "float32")
    batch = forecast_data.Batch(
        zeros, zeros, zeros, zeros, zeros > 0, zeros, zeros[:, 0] + 10, zeros[:, 0] + 2
    )
    answers = FORECAST.predict(trained.facts, outputs, batch)
    np.testing.assert_array_equal(answers[0, 0], [10, 12, 20, 14, 16])


@pytest.mark.parametrize("places", [1, 2])
def test_by_default_it_scales_by_the_look_back(places, sales, tmp_path, capsys):
    rows = sales[0][sales[0]["place"].isin([*SIZES][:places])]
    path = write_rows(tmp_path / "sales.csv", rows)
    args = ["--data", str(path), *COLUMNS[:6], "--model", "segrnn", *QUICK, "--out"]
    assert main(["train", "forecast", *args, str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "test_scaled_mse" not in result
    assert result["test_mae"] < 40
    other = write_rows(tmp_path / "b.csv", rows.replace({"place": {"a": "new"}}))
    capsys.readouterr()
    status = main(["predict", str(tmp_path / "run"), "--input", str(other)])
    assert status == 2 * (places > 1)  # Only one of several has a vector of its own.
    capsys.readouterr()


def test_a_gru_takes_the_scale_of_a_series_too(sales, tmp_path):
    args = ["--data", str(sales[1]), *COLUMNS, "--scale", "series", "--model", "small"]
    args += ["--horizon", "9", "--windows", "3", "--epochs", "2", "--learning-rate", "1e-2"]
    assert main(["train", "forecast", *args, "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 < result["test_scaled_mse"] < 2
    assert result["validation_scaled_crps"] < 1


def test_the_other_commands_take_the_run(run, sales, tmp_path, capsys):
    forecast = (run / "forecast.csv").read_text()
    capsys.readouterr()
    assert main(["predict", str(run), "--input", str(sales[1])]) == 0
    assert capsys.readouterr().out == forecast
    assert main(["evaluate", str(run), "--input", str(sales[1])]) == 0
    assert "scaled_mse" in capsys.readouterr().out
    only = write_rows(tmp_path / "one.csv", sales[0][sales[0]["place"] == [*SIZES][1]])
    assert main(["predict", str(run), "--input", str(only), "--output", str(only)]) == 0
    both = [read_back(path).set_index(["unique_id", "ds"]) for path in (only, run / "forecast.csv")]
    pd.testing.assert_frame_equal(both[0], both[1][-HORIZON:], rtol=1e-6)  # in another batch


def test_what_it_cannot_do_is_one_line(run, sales, tmp_path, capsys):
    other = write_rows(tmp_path / "b.csv", sales[0].replace({"place": {"a": "new"}}))
    train = ["train", "forecast", "--data", str(sales[1]), *SEGRNN]
    for args, message in (
        ([*train, "--future", "promo"], "model segrnn reads the target alone, so"),
        ([*train, "--noise", "0.1"], "so future, past and noise must not be set."),
        (["explain", str(run)], "explain: net of forecast must have a recurrent layer, got none."),
        (["predict", str(run), "--input", str(other)], "series 'new' must be one that the net was"),
        (
            ["evaluate", str(run), "--input", str(other)],
            "has a scale or a vector for each: a, b, c.",
        ),
    ):
        assert main(args) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
