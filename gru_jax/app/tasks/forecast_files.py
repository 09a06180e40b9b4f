"""The files of a forecast.

backtest.csv    unique_id, ds, cutoff, y, gru_jax, gru_jax-lo-80, gru_jax-hi-80, seasonal_naive, ...
evaluation.csv  unique_id, metric, gru_jax, seasonal_naive
forecast.csv    unique_id, ds, gru_jax, gru_jax-lo-80, gru_jax-hi-80
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

import gru_jax as gj
from gru_jax import files
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_backtest import (
    NAIVE,
    Backtest,
    as_written,
    find_backtest,
    forecast,
    forecast_naive,
    score,
)
from gru_jax.app.tasks.forecast_data import Source
from gru_jax.app.tasks.task import Facts, Input, Table


def write_files(trained: Any, source: Source, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the backtest, its metrics and, if the future covariates reach so far, the forecast."""
    facts, table = trained.facts, source.table
    test = find_backtest(trained.config, facts, source)
    answers = {
        "gru_jax": forecast(trained, Source(table, test.windows)),
        NAIVE: forecast_naive(facts, test),
    }
    tables = {
        "backtest.csv": _tabulate_backtest(facts, table, test, answers),
        "evaluation.csv": _evaluate(facts, table, test, answers),
    }
    gap = data.find_gap(facts, table)
    if not gap:
        windows = data.make_windows(facts, table)
        ahead = forecast(trained, Source(table, windows))
        tables["forecast.csv"] = _tabulate(facts, table, windows, ahead)
    for name, content in tables.items():
        files.write_text(folder / name, content.as_csv())
    return [folder / name for name in tables], [f"No forecast.csv: {gap}"] if gap else []


def _tabulate_backtest(
    facts: Facts, table: gj.SeriesTable, test: Backtest, answers: dict[str, np.ndarray]
) -> Table:
    """Returns a line for each step of each window."""
    heads, values = ["unique_id", "ds", "cutoff", "y"], [test.y[..., None]]
    for model, quantiles in answers.items():
        columns, ordered = _order(facts, quantiles, model)
        heads += columns
        values.append(ordered)
    ahead = _ahead(test.windows)
    names, times = _name_steps(table, test.windows, ahead)
    _, ends = _name_steps(table, test.windows, ahead[:, :1] - 1 + np.zeros_like(ahead))
    numbers = np.concatenate(values, -1).reshape(test.y.size, -1)
    places = zip(names, times, ends, numbers, strict=True)
    return Table(heads, [[*where, *map(_text, row)] for *where, row in places])


def _evaluate(
    facts: Facts, table: gj.SeriesTable, test: Backtest, answers: dict[str, np.ndarray]
) -> Table:
    """Returns a line for each metric of each series; an undefined one is empty."""
    rows = []
    for number in np.unique(test.windows.series):
        of_series = np.flatnonzero(test.windows.series == number)
        part = test.take(of_series)
        scores = [score(facts, part, quantiles[of_series]) for quantiles in answers.values()]
        for metric in dict.fromkeys(name for row in scores for name in row):
            values = (_text(row.get(metric, np.nan)) for row in scores)
            rows.append([table.series[number].id, metric, *values])
    return Table(["unique_id", "metric", *answers], rows)


def tabulate(trained: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns the forecasts after the last targets in the columns of `forecast.csv`."""
    facts, table = trained.facts, source.data.table
    return _tabulate(facts, table, data.make_windows(facts, table), as_written(answers))


def _tabulate(
    facts: Facts, table: gj.SeriesTable, windows: gj.Windows, answers: np.ndarray
) -> Table:
    columns, values = _order(facts, answers)
    places = zip(
        *_name_steps(table, windows, _ahead(windows)), values.reshape(-1, len(columns)), strict=True
    )
    rows = [[name, time, *map(_text, row)] for name, time, row in places]
    return Table(["unique_id", "ds", *columns], rows)


def _order(
    facts: Facts, quantiles: np.ndarray, name: str = "gru_jax"
) -> tuple[list[str], np.ndarray]:
    """Returns names and values of the columns: the median, then interval by interval."""
    names, middle = gj.level_columns(facts["levels"], name), len(facts["levels"])
    pairs = [index for i in reversed(range(middle)) for index in (i, 2 * middle - i)]
    order = [middle, *pairs]
    return [names[i] for i in order], quantiles[..., order]


def _name_steps(
    table: gj.SeriesTable, windows: gj.Windows, positions: Int[np.ndarray, "windows steps"]
) -> tuple[list[str], list[str]]:
    """Returns the series and the time of each position in the series of the windows."""
    times = [
        gj.step_times(table.freq, table.series[i].times[0], steps)
        for i, steps in zip(windows.series, positions, strict=True)
    ]
    names = [table.series[i].id for i in windows.series for _ in range(positions.shape[1])]
    return names, gj.format_times(np.concatenate(times), utc=table.utc)


def _ahead(windows: gj.Windows) -> Int[np.ndarray, "windows horizon"]:
    """Returns the positions of the horizons."""
    return windows.cutoffs[:, None] + np.arange(windows.horizon)


def _text(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))
