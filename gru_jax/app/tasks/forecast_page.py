"""A forecast on the page of `gru-jax explain --html`."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

import gru_jax as gj
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_backtest import as_written
from gru_jax.app.tasks.forecast_data import Batch, Source

if TYPE_CHECKING:
    from gru_jax import plot


_SECONDS = re.compile(r"T(\d\d:\d\d)(:00)?")


def make_horizon(trained: Any, source: Source, batch: Batch, row: int) -> "plot.Horizon":
    """Returns what the last outputs of a window mean, in the units of its series."""
    from gru_jax import plot  # needs matplotlib

    facts, (table, windows) = trained.facts, source
    windows = data.make_windows(facts, table) if windows is None else windows
    series, cutoff = table.series[windows.series[row]], int(windows.cutoffs[row])
    begin, end = cutoff - windows.lookback, cutoff + windows.horizon
    y = as_written(np.append(series.y, np.full(windows.horizon, np.nan))[begin:end])
    steps = gj.step_times(table.freq, series.times[0], np.arange(begin, end))
    return plot.Horizon(
        past=y[: windows.lookback],
        names=[f"{100 * quantile:g} %" for quantile in gj.level_quantiles(facts["levels"])],
        center=float(batch.center[row]),
        scale=float(batch.scale[row]),
        base=len(facts["inputs"]) - 1 - len(facts["future"]),
        truth=y[windows.lookback :],
        times=[_SECONDS.sub(r" \1", time) for time in gj.format_times(steps, utc=table.utc)],
        label=series.id,
    )
