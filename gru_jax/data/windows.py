"""Windows of time series: a look-back and the steps to forecast, for one recurrent net over both.

    |<- lookback ->|<- horizon ->|
    |  y observed  |  y targets  |       cutoff: the steps of the series before the horizon

    inputs of a step   scaled y, observed, ahead, past covariates, future covariates

Scaled y and past covariates are 0 in the horizon, so the outputs there are a direct forecast of all
its steps. Windows overlap: they are index arrays, and only a batch of them is ever gathered.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from gru_jax.data.checks import check_counts
from gru_jax.data.series import SeriesTable
from gru_jax.types import ArrayLike

CHANNELS = 3
"""Inputs of a step before the covariates: scaled y, observed, ahead."""


class Standardization(NamedTuple):
    """Mean and standard deviation of each covariate, past ones before future ones."""

    mean: Float[np.ndarray, " covariates"]
    std: Float[np.ndarray, " covariates"]


class Windows(NamedTuple):
    """Windows of the series of one table.

    Attributes:
        rows: the steps of all series, one after another, with the inputs as columns; y is not
            scaled.
        starts: the first row of each window.
        series: the number of its series.
        cutoffs: the steps of its series before the horizon.
        lookback: steps before the cutoff.
        horizon: steps to forecast.
        num_past: past covariates.
        standardization: of the covariates.
        scales: center and scale of each series' y; None takes those of each look-back.
    """

    rows: Float[np.ndarray, "rows columns"]
    starts: Int[np.ndarray, " windows"]
    series: Int[np.ndarray, " windows"]
    cutoffs: Int[np.ndarray, " windows"]
    lookback: int
    horizon: int
    num_past: int
    standardization: Standardization
    scales: Float[np.ndarray, "series 2"] | None = None


class WindowBatch(NamedTuple):
    """A batch of windows as arrays, with a leading axis of steps if several batches are stacked.

    `center + scale * prediction` is a prediction in the units of y.

    Attributes:
        inputs: of each step of look-back and horizon.
        targets: the scaled y of the horizon; 0 is missing.
        valid: False where a target is missing, and in the padding rows of the last batch.
        center: the mean of y over the look-back, or that of its series.
        scale: the standard deviation.
        numbers: the windows' numbers; -1 in the padding rows of the last batch.
    """

    inputs: Float[ArrayLike, "*steps batch time input"]
    targets: Float[ArrayLike, "*steps batch horizon"]
    valid: Bool[ArrayLike, "*steps batch horizon"]
    center: Float[ArrayLike, "*steps batch"]
    scale: Float[ArrayLike, "*steps batch"]
    numbers: Int[ArrayLike, "*steps batch"]


def gather_windows(windows: Windows, numbers: Int[np.ndarray, " batch"]) -> WindowBatch:
    """Returns the windows with these numbers as arrays.

    The look-back's observed y are scaled to mean 0 and standard deviation 1. If they are all equal,
    the scale is their absolute value, or 1 if they are 0. `windows.scales`, if given, is used
    instead.
    """
    lookback, covariates = windows.lookback, CHANNELS + windows.num_past
    steps = np.arange(lookback + windows.horizon)
    # Several times faster than the same by indexing.
    inputs = windows.rows.take(windows.starts[numbers][:, None] + steps, 0)
    y, observed = inputs[..., 0], inputs[..., 1]
    if windows.scales is None:
        center, scale = find_scale(y[:, :lookback], observed[:, :lookback])
    else:
        center, scale = windows.scales[windows.series[numbers]].T
    y[:] = observed * (y - center[:, None]) / scale[:, None]
    targets, valid = y[:, lookback:].copy(), observed[:, lookback:] > 0
    inputs[:, lookback:, :covariates] = 0
    inputs[:, lookback:, 2] = 1
    return WindowBatch(inputs, targets, valid, center, scale, np.array(numbers))


def window_batches(
    windows: Windows,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    limit: int | None = None,
    steps: int = 64,
) -> Iterator[WindowBatch]:
    """Yields one epoch, every window once; the last batch is filled up with invalid rows.

    Args:
        windows: the windows.
        batch_size: windows in a batch.
        seed: shuffles the windows; None keeps their order.
        epoch: number of the epoch; each has its own order.
        limit: windows of an epoch at most, the first ones of the order.
        steps: batches stacked in one item at most.

    Raises:
        ValueError: if a size is out of range.
    """
    check_counts("window_batches", batch_size=batch_size, steps=steps)
    if limit is not None:
        check_counts("window_batches", limit=limit)
    numbers = np.arange(len(windows.starts))
    if seed is not None:
        numbers = np.random.default_rng([seed, epoch]).permutation(numbers)
    numbers = numbers[:limit]
    for i in range(0, len(numbers), batch_size * steps):
        chosen = numbers[i : i + batch_size * steps]
        filler = np.zeros(-len(chosen) % batch_size, int)
        batch = gather_windows(windows, np.concatenate([chosen, chosen[filler]]))
        batch.valid[len(chosen) :], batch.numbers[len(chosen) :] = False, -1
        yield WindowBatch(*(a.reshape(-1, batch_size, *a.shape[1:]) for a in batch))


def make_windows(
    table: SeriesTable,
    lookback: int,
    horizon: int,
    parts: Sequence[Sequence[Int[np.ndarray, " _"]]],
    standardization: Standardization,
    scales: Float[np.ndarray, "series 2"] | None = None,
) -> list[Windows]:
    """Returns the windows of each part, given as the cutoffs of each series."""
    lengths = [max(len(series.y) + horizon, len(series.future)) for series in table.series]
    firsts = np.cumsum([0, *lengths])
    columns = CHANNELS + len(table.past)
    rows = np.full((firsts[-1], columns + len(table.future)), np.nan, np.float32)
    for first, series in zip(firsts, table.series, strict=False):
        steps = rows[first:]
        steps[: len(series.y), 0] = series.y
        steps[: len(series.y), 1] = ~np.isnan(series.y)
        steps[: len(series.past), CHANNELS:columns] = series.past
        steps[: len(series.future), columns:] = series.future
    rows[:, CHANNELS:] -= standardization.mean
    rows[:, CHANNELS:] /= standardization.std
    np.nan_to_num(rows, copy=False)
    return [
        Windows(
            rows,
            starts=np.concatenate(cutoffs)
            + np.repeat(firsts[:-1], list(map(len, cutoffs)))
            - lookback,
            series=np.repeat(np.arange(len(cutoffs)), list(map(len, cutoffs))),
            cutoffs=np.concatenate(cutoffs),
            lookback=lookback,
            horizon=horizon,
            num_past=len(table.past),
            standardization=standardization,
            scales=scales,
        )
        for cutoffs in parts
    ]


def is_constant(
    std: Float[np.ndarray, "*shape"], size: Float[np.ndarray, "*shape"]
) -> Bool[np.ndarray, "*shape"]:
    """Returns whether a standard deviation is only rounding error for values of this size."""
    return std <= 1e-6 * size


def find_scale(y: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns center and scale of the observed y of each row; missing y are 0."""
    count = np.maximum(observed.sum(-1), 1)
    center = (y.sum(-1, dtype=np.float64) / count).astype(np.float32)
    difference = observed * (y - center[:, None])
    std = np.sqrt(np.einsum("bt,bt->b", difference, difference, dtype=np.float64) / count)
    size = np.abs(center)
    return center, np.where(is_constant(std, size), np.where(size > 0, size, 1), std).astype(
        np.float32
    )
