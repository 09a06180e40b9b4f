"""A rolling-origin backtest, and the seasonal naive forecast beside it.

Numbers are rounded to the digits that files hold, so metrics are those of the files' numbers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

import gru_jax as gj
from gru_jax import Row
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_data import Source
from gru_jax.app.tasks.task import BATCH, Facts

NAIVE = "seasonal_naive"


class Backtest(NamedTuple):
    """Test windows, and what is known of them.

    Attributes:
        windows: the windows.
        past: y of each window's series before the cutoff; NaN is missing.
        y: y of the horizon.
        scale: deviation of each window's series in training, where that scales y.
    """

    windows: gj.Windows
    past: list[Float[np.ndarray, " _"]]
    y: Float[np.ndarray, "windows horizon"]
    scale: Float[np.ndarray, " windows"] | None = None

    def take(self, numbers: Int[np.ndarray, " some"]) -> "Backtest":
        """Returns some of the windows."""
        starts, series, cutoffs = (each[numbers] for each in self.windows[1:4])
        windows = self.windows._replace(starts=starts, series=series, cutoffs=cutoffs)
        scale = None if self.scale is None else self.scale[numbers]
        return Backtest(windows, [self.past[i] for i in numbers], self.y[numbers], scale)


def find_backtest(config: Any, facts: Facts, source: Source) -> Backtest:
    """Returns the last windows of each series.

    Raises:
        ValueError: if a series is too short for them, or they hold no target other than 0.
    """
    table, horizon = source.table, facts["horizon"]
    step = config.step or horizon
    needed = facts["lookback"] + horizon + step * (config.windows - 1)
    for series in table.series:
        if len(series.y) < needed:
            raise ValueError(
                f"series {series.id[:60]!r} must have {needed} steps or more for "
                f"{config.windows} test windows with their look-back, got {len(series.y)}."
            )
    cutoffs = [
        gj.make_cutoffs(len(series.y), horizon, config.windows, step) for series in table.series
    ]
    windows = data.make_windows(facts, table, cutoffs)
    every = [as_written(series.y) for series in table.series]
    places = list(zip(windows.series, windows.cutoffs, strict=True))
    y = np.stack([every[i][cutoff : cutoff + horizon] for i, cutoff in places])
    if not np.nan_to_num(y).any():
        raise ValueError("test windows must hold a target other than 0, but have none.")
    test = Backtest(windows, [every[i][:cutoff] for i, cutoff in places], y)
    if not facts["scales"]:
        return test
    scales = np.array(facts["scales"])[data.find_numbers(facts, table), 1]
    return test._replace(scale=scales[windows.series])


def as_written(values: np.ndarray) -> np.ndarray:
    """Returns float32 values in float64, as their shortest decimals read."""
    return np.asarray(values, np.float32).astype(str).astype(np.float64)


def forecast(trained: Any, source: Source) -> Float[np.ndarray, "windows horizon quantiles"]:
    """Returns the net's quantiles of each window."""
    task, _, facts, net, params = trained
    prepared = data.prepare(facts, source)

    def answers() -> Iterator[np.ndarray]:
        for batch in data.in_order(prepared, BATCH):
            one = jax.tree.map(lambda a: a[0], batch)
            outputs = _apply(net, params, one.xs)
            yield np.asarray(task.predict(facts, outputs, one))[one.valid]

    return as_written(np.concatenate(list(answers())))


_apply = jax.jit(lambda net, params, xs: net.apply(params, xs, key=None)[0], static_argnums=0)


def forecast_naive(facts: Facts, test: Backtest) -> Float[np.ndarray, "windows horizon quantiles"]:
    """Returns the quantiles of the seasonal naive forecast; NaN before a season is over."""
    season, horizon, quantiles = (
        facts["season"],
        facts["horizon"],
        gj.level_quantiles(facts["levels"]),
    )
    unknown = np.full((horizon, len(quantiles)), np.nan)
    forecasts = [
        gj.seasonal_naive(past, season, horizon, quantiles) if len(past) > season else unknown
        for past in test.past
    ]
    return as_written(np.stack(forecasts))


def score(facts: Facts, test: Backtest, forecasts: np.ndarray) -> Row:
    """Returns the metrics in units of y, of the targets that have a forecast; no undefined one."""
    levels, quantiles = facts["levels"], gj.level_quantiles(facts["levels"])
    y = np.where(np.isnan(forecasts).any(-1), np.nan, test.y)
    median = forecasts[..., len(levels)]
    errors = np.array(
        [gj.mase(*window, facts["season"]) for window in zip(median, y, test.past, strict=True)]
    )
    defined, flat, rows = errors[~np.isnan(errors)], y.ravel(), forecasts.reshape(y.size, -1)
    values = {
        "mase": defined.mean() if len(defined) else np.nan,
        "scaled_crps": gj.scaled_crps(rows, flat, quantiles),
        "mae": gj.mae(median.ravel(), flat),
        "mse": gj.mse(median.ravel(), flat),
    }
    if test.scale is not None:
        scaled = [(a / test.scale[:, None]).ravel() for a in (median, y)]
        values |= {"scaled_mse": gj.mse(*scaled), "scaled_mae": gj.mae(*scaled)}
    for i, level in enumerate(sorted(levels, reverse=True)):
        values[f"coverage_{level:g}"] = gj.coverage(rows[:, i], rows[:, -1 - i], flat)
    return {name: float(value) for name, value in values.items() if not np.isnan(value)}


def measure(trained: Any, source: Source) -> Row:
    """Returns the metrics of the net's forecasts, and the numbers of windows and of targets."""
    test = find_backtest(trained.config, trained.facts, source)
    row = score(trained.facts, test, forecast(trained, Source(source.table, test.windows)))
    return row | {"windows": len(test.y), "targets": int((~np.isnan(test.y)).sum())}


def measure_naive(config: Any, facts: Facts, source: Source) -> dict[str, Row]:
    """Returns the metrics of the seasonal naive forecast."""
    test = find_backtest(config, facts, source)
    return {NAIVE: score(facts, test, forecast_naive(facts, test))}
