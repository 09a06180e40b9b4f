"""The settings of a forecast."""

import dataclasses
import math
from typing import Annotated, Literal

from gru_jax.app.tasks.config import FILE, FREE, Config, Range


@dataclasses.dataclass(frozen=True)
class ForecastConfig(Config):
    """The data and the net; the defaults were chosen on validation windows."""

    epochs: Annotated[int, Range(1, 10**6)] = 20
    """Passes over the training windows, or over --epoch-windows of them."""
    patience: Annotated[int, Range(1, 10**6), FREE] = 10
    """Stops after this many epochs without a better validation."""
    batch: Annotated[int, Range(1, 10**5), FREE] = 64
    """Windows in a batch."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 3e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    data: Annotated[str | None, FILE] = None
    """A .csv or .parquet file: a row is a step of a series."""
    target: Annotated[tuple[str, ...], "COLUMN"] = ()
    """Column to forecast; several columns are one series each."""
    id: Annotated[str | None, "COLUMN"] = None
    """Column that tells the series apart, where the file holds several."""
    time: Annotated[str, "COLUMN"] = "ds"
    """Column of times: ISO dates, or integers."""
    future: Annotated[tuple[str, ...], "COLUMN"] = ()
    """Columns that are known for the steps to forecast, e.g. holidays."""
    past: Annotated[tuple[str, ...], "COLUMN"] = ()
    """Columns that are known only as long as the target is."""
    horizon: Annotated[int | None, Range(1, 10**5)] = None
    """Steps to forecast. Default: a season."""
    lookback: Annotated[int | None, Range(1, 10**5)] = None
    """Input steps of a forecast. Default: the larger of three seasons and two horizons, but at
    most 400."""
    freq: Annotated[str | None, "STEP"] = None
    """Time between two steps: 30min, h, D, W, MS, QS, YS, or a number. Default: the most common."""
    season: Annotated[int | None, Range(1, 10**6)] = None
    """Steps per season. Default: a day, a week or a year, depending on the step."""
    level: Annotated[tuple[float, ...], "PERCENT", Range(1, 100)] = (80.0, 95.0)
    """Coverage of the intervals, in per cent."""
    windows: Annotated[int, Range(0, 10**5)] = 4
    """Test windows of each series, at its end."""
    step: Annotated[int | None, Range(1, 10**5)] = None
    """Steps between two test windows. Default: the horizon."""
    validation: Annotated[int | None, Range(1, 10**5)] = None
    """Validation windows of each series, before the test. Default: as many as test windows, or
    as fit in a tenth of the shortest series (at most 32), whichever is more."""
    epoch_windows: Annotated[int, Range(1, 10**9), FREE] = 4096
    """Training windows in an epoch, at most; each epoch draws others."""
    model: Literal["small", "medium", "large", "segrnn"] = "medium"
    """GRU layers: 1 of 32, 1 of 64 or 2 of 128 features; or SegRNN (2023), with a GRU of 512 over
    segments, which reads the target alone."""
    scale: Literal["window", "series"] = "window"
    """Scales the target by mean and standard deviation of each look-back, or of each series'
    training steps; with the latter, other series cannot be forecast."""
    noise: Annotated[float, Range(0, math.inf), FREE] = 0.0
    """Standard deviation of the noise on the scaled inputs, in training."""
    dropout: Annotated[float, Range(0, 1), FREE] = 0.1
    """Share of features dropped after each layer, in training."""
