"""The figures of a forecast: the last test windows, and what comes after the last targets."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gru_jax as gj
from gru_jax import files
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_backtest import (
    Backtest,
    as_written,
    find_backtest,
    forecast,
    forecast_naive,
)
from gru_jax.app.tasks.forecast_data import Source

DRAWN = 3
"""Series in a figure, at most."""
SHOWN = 3
"""Horizons of the look-back in a figure, at most."""


def draw(trained: Any, source: Source, folder: Path) -> list[Path]:
    """Draws `backtest.png` and, if the future covariates reach so far, `forecast.png`.

    They show the first series, each with the narrowest interval.
    """
    facts, table = trained.facts, source.table
    test = find_backtest(trained.config, facts, source)
    title = "the last test window"
    paths = [_draw(trained, table, _last_windows(test), title, folder / "backtest.png")]
    if data.find_gap(facts, table):
        return paths
    windows = data.make_windows(facts, table)
    past = [as_written(table.series[i].y) for i in windows.series]
    unknown = np.full((len(past), facts["horizon"]), np.nan)
    ahead, title = _last_windows(Backtest(windows, past, unknown)), "the forecast"
    return [*paths, _draw(trained, table, ahead, title, folder / "forecast.png")]


def _last_windows(test: Backtest) -> Backtest:
    """Returns the last window of each of the first series."""
    every = test.windows.series
    return test.take(np.array([np.flatnonzero(every == i)[-1] for i in np.unique(every)[:DRAWN]]))


def _draw(trained: Any, table: gj.SeriesTable, test: Backtest, title: str, path: Path) -> Path:
    from matplotlib.figure import Figure

    from gru_jax import plot

    facts, windows = trained.facts, test.windows
    middle, back = len(facts["levels"]), min(facts["lookback"], SHOWN * facts["horizon"])
    quantiles = forecast(trained, Source(table, windows))
    naive = forecast_naive(facts, test)[..., middle]
    count = len(windows.starts)
    figure = Figure(figsize=(9, 0.6 + 3 * count), layout="constrained")
    axes = figure.subplots(count, squeeze=False)[:, 0]
    for i, ax in enumerate(axes):
        series = table.series[windows.series[i]]
        steps = windows.cutoffs[i] + np.arange(-back, windows.horizon)
        bands: dict[str, Any] = {}
        if middle:
            bands = {"lower": quantiles[i, :, middle - 1], "upper": quantiles[i, :, middle + 1]}
            bands["band"] = f"{min(facts['levels']):g} % interval"
        plot.forecast(
            np.concatenate([test.past[i][-back:], test.y[i]]),
            quantiles[i, :, middle],
            ax,
            start=back,
            times=gj.step_times(table.freq, series.times[0], steps),
            others={"seasonal naive": naive[i]},
            ylabel=series.id,
            **bands,
        )
        ax.set_xlabel("time (UTC)" if table.utc else "time")
        ax.get_legend().remove()
    more = len(table.series) - count
    figure.suptitle(title + f", of {count} of {len(table.series)} series" * (more > 0))
    # Below the axes, where it hides no peak.
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    files.write(path, partial(figure.savefig, format="png", dpi=150))
    return path
