"""A forecast on the page of `gru-jax explain --html`."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

import gru_jax as gj
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_data import Source

if TYPE_CHECKING:
    from gru_jax import plot


def choose_window(
    trained: Any, source: Source
) -> tuple[Float[np.ndarray, "time input"], "plot.Horizon"]:
    """Returns the last window of the first series: the net's inputs, and their `Horizon`.

    Raises:
        ValueError: if the net is SegRNN, or from `prepare`.
    """
    from gru_jax import plot  # needs matplotlib

    facts, (table, windows) = trained.facts, source
    if facts["net"] == "segrnn":
        raise ValueError("explain: --html cannot run segrnn, whose GRU reads segments of steps.")
    windows = data.make_windows(facts, table) if windows is None else windows
    number = np.flatnonzero(windows.series == windows.series[0])[-1:]
    starts, numbers, cutoffs = (each[number] for each in windows[1:4])
    windows = windows._replace(starts=starts, series=numbers, cutoffs=cutoffs)
    batch = next(data.in_order(data.prepare(facts, Source(table, windows)), 1))
    series, cutoff = table.series[numbers[0]], int(cutoffs[0])
    begin, end = cutoff - windows.lookback, cutoff + windows.horizon
    past, truth = series.y[begin:cutoff], series.y[cutoff:end]
    times = gj.step_times(table.freq, series.times[0], np.arange(begin, end))
    horizon = plot.Horizon(
        past=past,
        names=[f"{100 * quantile:g} %" for quantile in gj.level_quantiles(facts["levels"])],
        center=float(batch.center[0, 0]),
        scale=float(batch.scale[0, 0]),
        base=len(facts["inputs"]) - 1 - len(facts["future"]),  # y of the last season
        truth=truth if len(truth) else None,
        times=shorten(gj.format_times(times, utc=table.utc)),
        label=series.id,
    )
    return np.asarray(batch.xs[0, 0]), horizon


def shorten(times: list[str]) -> list[str]:
    """Returns ISO times with a space for the T, without seconds if none has any."""
    times = [time.replace("T", " ") for time in times]
    bare = [time.removesuffix("Z") for time in times]
    if not all(len(time) == len("2024-02-26 13:00:00") and time.endswith(":00") for time in bare):
        return times
    return [time[:16] + time[19:] for time in times]
