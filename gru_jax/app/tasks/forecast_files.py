"""The files of a forecast.

backtest.csv   unique_id, ds, cutoff, y, gru_jax, gru_jax-lo-80, gru_jax-hi-80, seasonal_naive, ...
forecast.csv   unique_id, ds, gru_jax, gru_jax-lo-80, gru_jax-hi-80
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

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
    columns, values = _order(facts, forecast(trained, Source(table, test.windows)))
    columns_naive, naive = _order(facts, forecast_naive(facts, test), NAIVE)
    ahead = _ahead(test.windows)
    names, times = _name_steps(table, test.windows, ahead)
    _, ends = _name_steps(table, test.windows, ahead[:, :1] - 1 + np.zeros_like(ahead))
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
    windows = data.make_windows(facts, table)
    answers = _tabulate(facts, table, windows, forecast(trained, Source(table, windows)))
    return [*paths, _write(folder / "forecast.csv", answers)], []


def tabulate(trained: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns the forecasts after the last targets in the columns of `forecast.csv`."""
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
    quantiles = forecast(trained, Source(table, test.windows))[last]
    naive = forecast_naive(facts, test)[last, :, middle]
    bands = {}
    if middle:
        bands = {"lower": quantiles[:, middle - 1], "upper": quantiles[:, middle + 1]}
        bands["band"] = f"{min(facts['levels']):g} % interval"
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    ax = plot.forecast(
        np.concatenate([test.past[last][-back:], test.y[last]]),
        quantiles[:, middle],
        figure.subplots(),
        start=back,
        others={"seasonal naive": naive},
        ylabel=table.series[0].id,
        **bands,
    )
    _, times = _name_steps(table, test.windows, _ahead(test.windows))
    first = times[last * facts["horizon"]]
    ax.set(xlabel=f"step of {facts['freq']}", title=f"the last test window, from {first} on")
    files.write(folder / "forecast.png", partial(figure.savefig, format="png", dpi=150))
    return [folder / "forecast.png"]


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


def _write(path: Path, table: Table) -> Path:
    files.write_text(path, table.as_csv())
    return path
