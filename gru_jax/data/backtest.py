"""Training, validation and test windows in chronological order: a rolling-origin backtest.

    |<------------ training windows ------------>|
                                                 |<- validation targets ->|
                                                                          |<- test targets ->|

Look-backs may reach back into an earlier part, as they would when the forecast is made.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gru_jax.data.checks import check_counts
from gru_jax.data.series import SeriesTable
from gru_jax.data.windows import (
    Standardization,
    Windows,
    find_scale,
    is_constant,
    make_windows,
)


class WindowSplit(NamedTuple):
    """The windows to train on, to validate with and to test with."""

    train: Windows
    validation: Windows
    test: Windows


def make_cutoffs(
    length: int, horizon: int, windows: int = 1, step: int | None = None
) -> Int[np.ndarray, " windows"]:
    """Returns a rolling-origin backtest's ascending cutoffs; the last horizon ends the series.

    A cutoff is the number of steps before the horizon.

    Args:
        length: steps of the series.
        horizon: steps to forecast.
        windows: number of cutoffs.
        step: steps between them; None is the horizon.

    Raises:
        ValueError: if an argument is out of range, or the series has too few steps.
    """
    step = horizon if step is None else step
    check_counts("make_cutoffs", 0, windows=windows)
    check_counts("make_cutoffs", length=length, horizon=horizon, step=step)
    needed = horizon + step * (windows - 1) + 1
    if windows and length < needed:
        raise ValueError(
            f"make_cutoffs: length must be {needed} or more for {windows} windows of {horizon} "
            f"steps, got {length}."
        )
    return length - horizon - step * np.arange(windows)[::-1]


def split_windows(
    table: SeriesTable,
    lookback: int,
    horizon: int,
    *,
    validation: int = 1,
    test: int = 1,
    step: int | None = None,
    scale: Literal["window", "series"] = "window",
) -> WindowSplit:
    """Splits the windows of each series by time, so that no part sees the targets of a later one.

    The last cutoffs are for the test, and the cutoffs before them for validation. Training has
    every cutoff whose horizon ends before the first target of validation. It leaves out windows
    without an observed y in their look-back or in their horizon. Covariates are standardised
    with the statistics of the steps before that first target.

    Args:
        table: the series.
        lookback: steps before the cutoff.
        horizon: steps to forecast.
        validation: cutoffs of each series for validation; may be 0.
        test: cutoffs of each series for the test; may be 0.
        step: steps between two of these cutoffs; None is the horizon.
        scale: scale y by mean and standard deviation of each look-back, or of each series before
            the first target of validation: see `Windows.scales`.

    Raises:
        ValueError: if an argument is out of range, a series has too few steps, or none has a window
            to train on.
    """
    if scale not in ("window", "series"):
        raise ValueError(f'split_windows: scale must be "window" or "series", got {scale!r}.')
    step = horizon if step is None else step
    check_counts("split_windows", lookback=lookback, horizon=horizon, step=step)
    check_counts("split_windows", 0, validation=validation, test=test)
    held_out = sum(horizon + step * (count - 1) for count in (validation, test) if count)
    train_cutoffs, validation_cutoffs, test_cutoffs, ends = [], [], [], []
    for series in table.series:
        length, end = len(series.y), len(series.y) - held_out
        if end < lookback + horizon:
            raise ValueError(
                f"split_windows: series {series.id[:60]!r} must have "
                f"{lookback + horizon + held_out} steps or more: {lookback} of look-back and "
                f"{horizon} of horizon to train on, and {held_out} of validation and test, "
                f"got {length}; fewer windows or a shorter horizon would do."
            )
        ends.append(end)
        test_cutoffs.append(make_cutoffs(length, horizon, test, step))
        before_test = int(test_cutoffs[-1][0]) if test else length
        validation_cutoffs.append(make_cutoffs(before_test, horizon, validation, step))
        train_cutoffs.append(_observed_cutoffs(series.y[:end], lookback, horizon))
    if not any(map(len, train_cutoffs)):
        raise ValueError(
            "split_windows: table must have a training window with an observed target in its "
            f"look-back of {lookback} and in its horizon of {horizon} steps, but has none."
        )
    moments = [
        _standardize(
            [getattr(series, kind)[:end] for series, end in zip(table.series, ends, strict=True)]
        )
        for kind in ("past", "future")
    ]
    standardization = Standardization(*map(np.concatenate, zip(*moments, strict=True)))
    parts = [train_cutoffs, validation_cutoffs, test_cutoffs]
    scales = _find_scales(table, ends) if scale == "series" else None
    return WindowSplit(*make_windows(table, lookback, horizon, parts, standardization, scales))


def forecast_windows(
    table: SeriesTable,
    lookback: int,
    horizon: int,
    standardization: Standardization,
    *,
    cutoffs: Sequence[Int[np.ndarray, " _"]] | None = None,
) -> Windows:
    """Returns windows of each series to forecast; by default the steps after its last target.

    Args:
        table: the series.
        lookback: steps before the cutoff.
        horizon: steps to forecast.
        standardization: of the covariates, from the windows that the net was trained on.
        cutoffs: of each series, e.g. from `make_cutoffs`; None is its last step.

    Raises:
        ValueError: if an argument is out of range, a series has fewer steps than the look-back
            before a cutoff, or its future covariates end within the horizon.
    """
    if cutoffs is None:
        cutoffs = [np.array([len(series.y)]) for series in table.series]
    check_counts("forecast_windows", lookback=lookback, horizon=horizon)
    covariates = len(table.past) + len(table.future)
    if len(standardization.mean) != covariates:
        raise ValueError(
            f"forecast_windows: standardization must be of {covariates} covariates, as the table "
            f"has, got {len(standardization.mean)}."
        )
    if len(cutoffs) != len(table.series):
        raise ValueError(
            f"forecast_windows: cutoffs must be of {len(table.series)} series, as the table has, "
            f"got {len(cutoffs)}."
        )
    for series, each in zip(table.series, cutoffs, strict=True):
        first, last = (int(end(each, initial=len(series.y))) for end in (np.min, np.max))
        known = len(series.future) - int(np.max(each, initial=0))
        if first < lookback:
            raise ValueError(
                f"forecast_windows: series {series.id[:60]!r} must have {lookback} steps or "
                f"more, the look-back, got {first}."
            )
        if last > len(series.y):
            raise ValueError(
                f"forecast_windows: cutoffs of series {series.id[:60]!r} must be at most its "
                f"{len(series.y)} steps, got {last}."
            )
        if table.future and known < horizon:
            raise ValueError(
                f"forecast_windows: series {series.id[:60]!r} must have "
                f"{', '.join(table.future)} for {horizon} steps after its last target, "
                f"got {known}."
            )
    return make_windows(table, lookback, horizon, [cutoffs], standardization)[0]


def _observed_cutoffs(
    y: Float[np.ndarray, " time"], lookback: int, horizon: int
) -> Int[np.ndarray, " cutoffs"]:
    """Returns the cutoffs with an observed y in look-back and horizon."""
    counts = np.cumsum(np.concatenate([[0], ~np.isnan(y)]))
    cutoffs = np.arange(lookback, len(y) - horizon + 1)
    before = counts[cutoffs] > counts[cutoffs - lookback]
    return cutoffs[before & (counts[cutoffs + horizon] > counts[cutoffs])]


def _find_scales(table: SeriesTable, ends: Sequence[int]) -> Float[np.ndarray, "series 2"]:
    """Returns center and scale of the y of each series before its end."""
    known = [series.y[:end] for series, end in zip(table.series, ends, strict=True)]
    scales = [find_scale(np.nan_to_num(y)[None], ~np.isnan(y)[None]) for y in known]
    return np.array(scales, np.float32)[..., 0]


def _standardize(parts: Sequence[Float[np.ndarray, "_ covariates"]]) -> Standardization:
    """Returns mean and standard deviation of covariates; 0 and 1 where they are constant."""
    values = np.concatenate(parts).astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values, 0).sum(0) / count
    std = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(0) / count)
    return Standardization(mean, np.where(is_constant(std, np.abs(mean)), 1, std))
