"""From a user's table to windows, and to what using the net needs to know of them."""

from pathlib import Path
from typing import Any

import numpy as np

import gru_jax as gj
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.app.tasks.forecast_data import Source
from gru_jax.app.tasks.task import Facts, Input, Parts

SEASONS, LOOKBACK = 3, 400
"""Seasons in a look-back, and its steps at most, unless its length is given."""


def load(config: ForecastConfig) -> Parts:
    """Returns the training, the validation and the test windows of the file."""
    if config.data is None or not config.target:
        missing = "--data FILE" if config.data is None else "--target COLUMN"
        raise ValueError(f"train: {missing} is missing; see gru-jax train forecast --help.")
    if not config.windows:
        raise ValueError("train: windows must be a whole number from 1, got 0.")
    return load_table(config, Path(config.data))


def load_table(config: ForecastConfig, source: Any) -> Parts:
    """Returns the windows of a file or of a data frame; without test windows, that part is empty.

    Raises:
        ValueError: if it does not hold such series, or a part has no target other than 0.
    """
    gj.level_quantiles(config.level)
    if config.model == "segrnn" and (config.future or config.past or config.noise):
        raise ValueError(
            "train: model segrnn reads the target alone, so future, past and noise must not be set."
        )
    table = read_table(config, source, config.freq, config.season)
    horizon = config.horizon or table.season
    step, shortest = config.step or horizon, min(len(series.y) for series in table.series)
    validation = config.validation or max(config.windows, min(32, shortest // 10 // step), 1)
    held_out = sum(horizon + step * (n - 1) for n in (config.windows, validation) if n)
    wish = min(max(SEASONS * table.season, 2 * horizon), LOOKBACK)
    lookback = config.lookback or max(min(wish, (shortest - held_out - horizon) // 2), 1)
    calendar = [] if config.model == "segrnn" else data.find_calendar(table)
    table = data.add_calendar(table, calendar, horizon)
    options = {"validation": validation, "test": config.windows, "step": step}
    split = gj.split_windows(table, lookback, horizon, scale=config.scale, **options)
    for name, part in zip(("validation", "test"), split[1:], strict=True):
        places = zip(part.series, part.cutoffs, strict=True)
        ys = [np.nan_to_num(table.series[i].y[c : c + horizon]) for i, c in places]
        if ys and not np.any(ys):
            raise ValueError(
                f"{config.data or 'table'}: the {name} windows must hold a target other than 0, "
                "but have none."
            )
    return Parts(*(Source(table, part) for part in split))


def read_table(
    config: ForecastConfig, source: Any, freq: str | None, season: int | None
) -> gj.SeriesTable:
    """Returns the series of a file or of a data frame, with the columns of the settings."""
    return gj.read_series(
        source,
        target=config.target,
        id=config.id,
        time=config.time,
        future=config.future,
        past=config.past,
        freq=freq,
        season=season,
    )


def learn(config: ForecastConfig, parts: Parts) -> Facts:
    """Returns the grid of the series, the sizes of a window, and the statistics of covariates."""
    table, windows = parts.train
    mean, std = windows.standardization
    segrnn, scales = config.model == "segrnn", windows.scales
    named = segrnn or scales is not None
    names = [series.id for series in table.series] if named else []
    last = [f"{name} last season" for name in ("y", *config.future)]
    return {
        "net": "segrnn" if segrnn else "gru",
        "data": data.digest(table),
        "freq": str(table.freq),
        "season": table.season,
        "future": list(config.future),
        "calendar": [] if segrnn else data.find_calendar(table),
        "inputs": ["y", "series"][: min(len(names), 2)] if segrnn else [*table.inputs, *last],
        "series": names,
        "scales": [] if scales is None else scales.tolist(),
        "lookback": windows.lookback,
        "horizon": windows.horizon,
        "levels": list(config.level),
        "mean": np.asarray(mean, float).tolist(),
        "std": np.asarray(std, float).tolist(),
    }


def read(config: ForecastConfig, facts: Facts, source: Any) -> Input:
    """Returns the series of a user's file or data frame, to forecast after their last targets."""
    table = read_table(config, source, facts["freq"], facts["season"])
    table = data.add_calendar(table, facts["calendar"], facts["horizon"])
    return Input([series.id for series in table.series], Source(table, None), known=False)
