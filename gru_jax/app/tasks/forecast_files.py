"""The files of a forecast.

backtest.csv   unique_id, ds, cutoff, y, gru_jax, gru_jax-lo-80, gru_jax-hi-80, seasonal_naive, ...
forecast.csv   unique_id, ds, gru_jax, gru_jax-lo-80, gru_jax-hi-80
"""

import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gru_jax as gj
from gru_jax import files
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_backtest import (
    NAIVE,
    as_written,
    find_backtest,
    forecast,
    forecast_naive,
)
from gru_jax.app.tasks.forecast_data import Source
from gru_jax.app.tasks.task import Facts, Input, Table

SHOWN = 3
"""Horizons that a figure shows of the look-back, at most."""


def write_files(trained: Any, source: Source, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the backtest and, if the future covariates reach so far, the forecast."""
    facts, table = trained.facts, source.table
    test = find_backtest(trained.config, facts, source)
    columns, values = _order(facts, forecast(trained, test.windows))
    columns_naive, naive = _order(facts, forecast_naive(facts, test), NAIVE)
    cutoffs = test.windows.cutoffs[:, None] - 1 + np.zeros(test.y.shape[1], int)
    names, times = _steps(facts, table, test.windows)
    _, ends = _steps(facts, table, test.windows, cutoffs)
    values = np.concatenate([test.y[..., None], values, naive], -1).reshape(test.y.size, -1)
    rows = [
        [*where, *map(_text, row)] for *where, row in zip(names, times, ends, values, strict=True)
    ]
    paths = [
        _write(
            folder / "backtest.csv",
            Table(["unique_id", "ds", "cutoff", "y", *columns, *columns_naive], rows),
        )
    ]
    if gap := data.find_gap(facts, table):
        return paths, [f"No forecast.csv: {gap}"]
    ahead = data.make_windows(facts, table)
    answers = forecast(trained, ahead)
    return [*paths, _write(folder / "forecast.csv", _tabulate(facts, table, ahead, answers))], []


def tabulate(trained: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns the forecasts behind the last targets in the columns of `forecast.csv`."""
    facts, table = trained.facts, source.data.table
    return _tabulate(facts, table, data.make_windows(facts, table), as_written(answers))


def draw(trained: Any, source: Source, folder: Path) -> list[Path]:
    """Draws the last test window of the first series with the narrowest interval."""
    from matplotlib.figure import Figure

    from gru_jax import plot

    facts, table = trained.facts, source.table
    test = find_backtest(trained.config, facts, source)
    last = int(np.flatnonzero(test.windows.series == 0)[-1])
    middle, back = len(facts["levels"]), min(facts["lookback"], SHOWN * facts["horizon"])
    quantiles = forecast(trained, test.windows)[last]
    naive = forecast_naive(facts, test)[last, :, middle]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    ax = plot.forecast(
        np.concatenate([test.past[last][-back:], test.y[last]]),
        quantiles[:, middle],
        figure.subplots(),
        start=back,
        lower=quantiles[:, middle - 1],
        upper=quantiles[:, middle + 1],
        band=f"{min(facts['levels']):g} % interval",
        others={"seasonal naive": naive},
        ylabel=table.series[0].id,
    )
    _, times = _steps(facts, table, test.windows)
    first = times[last * facts["horizon"]]
    ax.set(xlabel=f"step of {facts['freq']}", title=f"the last test window, from {first} on")
    files.write(folder / "forecast.png", partial(figure.savefig, format="png", dpi=150))
    return [folder / "forecast.png"]


def _tabulate(
    facts: Facts, table: gj.SeriesTable, windows: gj.Windows, answers: np.ndarray
) -> Table:
    columns, values = _order(facts, answers)
    places = zip(*_steps(facts, table, windows), values.reshape(-1, len(columns)), strict=True)
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


def _steps(
    facts: Facts,
    table: gj.SeriesTable,
    windows: gj.Windows,
    positions: np.ndarray | None = None,
) -> tuple[list[str], list[str]]:
    """Returns series and time of each step of the horizons, or of other positions."""
    if positions is None:
        positions = windows.cutoffs[:, None] + np.arange(facts["horizon"])
    starts = [table.series[i].times[0] for i in windows.series]
    times = [
        gj.step_times(table.freq, start, steps)
        for start, steps in zip(starts, positions, strict=True)
    ]
    names = [table.series[i].id for i in windows.series for _ in range(positions.shape[1])]
    return names, gj.format_times(np.concatenate(times), utc=table.utc)


def _text(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def _write(path: Path, table: Table) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    files.write_text(path, text.getvalue())
    return path
