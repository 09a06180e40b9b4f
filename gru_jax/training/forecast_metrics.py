"""Metrics of a forecast, for people to read.

    mae          mean |y - prediction|
    mse          mean (y - prediction)^2
    mase         mae / mean |y_t - y_{t-season}| of the training part
    scaled_crps  2 mean(quantile loss) n / sum |y|
    coverage     share of lower <= y <= upper

All average over the last axis, time, in float64 and leave out missing targets, which are NaN. A
result that is not defined, such as the mean of no target, is NaN: average over series with
`np.nanmean`. They agree with utilsforecast, given the rows whose target is observed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gru_jax.training.checks import describe
from gru_jax.training.losses import check_quantiles
from gru_jax.types import ArrayLike


def mae(
    predictions: Float[ArrayLike, "*batch time"], targets: Float[ArrayLike, "*batch time"]
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean absolute error; raises ValueError if shapes differ."""
    predictions, targets = _check_targets("mae", "predictions", predictions, targets)
    return _mean(np.abs(targets - predictions), targets)


def mse(
    predictions: Float[ArrayLike, "*batch time"], targets: Float[ArrayLike, "*batch time"]
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean squared error; raises ValueError if shapes differ."""
    predictions, targets = _check_targets("mse", "predictions", predictions, targets)
    return _mean((targets - predictions) ** 2, targets)


def mase(
    predictions: Float[ArrayLike, "*batch time"],
    targets: Float[ArrayLike, "*batch time"],
    training: Float[ArrayLike, "*batch past"],
    season: int,
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean absolute scaled error.

    The scale is the mean absolute error of the seasonal naive forecast within the training part. It
    is not defined, and the result NaN, if the training part is constant from season to season or
    not longer than one. (utilsforecast returns infinity for the former.)

    Args:
        predictions: the forecast.
        targets: the observed values; NaN is missing.
        training: the values before the forecast; NaN is missing. Put NaN before those of shorter
            series.
        season: steps of a season.

    Raises:
        ValueError: if the shapes do not fit, or `season` is not a whole number from 1.

    References:
        Hyndman and Koehler (2006), "Another look at measures of forecast accuracy", section 3.
    """
    error, training = mae(predictions, targets), np.asarray(training, np.float64)
    if training.shape[:-1] != error.shape or not training.ndim:
        expected = ", ".join(map(str, (*error.shape, "time")))
        raise ValueError(
            f"mase: training must be [{expected}] to match targets, got {describe(training)}."
        )
    if isinstance(season, bool) or not isinstance(season, int | np.integer) or season < 1:
        raise ValueError(f"mase: season must be a whole number from 1, got {season!r}.")
    change = np.abs(training[..., season:] - training[..., :-season])
    return _ratio(error, _mean(change, change))


def scaled_crps(
    predictions: Float[ArrayLike, "*batch time quantiles"],
    targets: Float[ArrayLike, "*batch time"],
    quantiles: Sequence[float],
) -> Float[np.ndarray, "*batch"]:
    """Returns the scaled continuous ranked probability score, from the loss of quantiles.

    It is NaN if all targets are 0.

    Args:
        predictions: the predicted quantiles.
        targets: the observed values; NaN is missing.
        quantiles: numbers between 0 and 1, e.g. from `level_quantiles`.

    Raises:
        ValueError: if the shapes do not fit, or a quantile is not between 0 and 1.

    References:
        Rangapuram et al. (2021), "End-to-end learning of coherent probabilistic forecasts for
        hierarchical time series", equation 11.
    """
    predictions, targets = (np.asarray(each, np.float64) for each in (predictions, targets))
    q = check_quantiles("scaled_crps", predictions.shape, targets.shape, quantiles)
    error = targets[..., None] - predictions
    loss = np.maximum(q * error, (q - 1) * error).mean(-1)
    return _ratio(np.asarray(2 * _mean(loss, targets)), _mean(np.abs(targets), targets))


def coverage(
    lower: Float[ArrayLike, "*batch time"],
    upper: Float[ArrayLike, "*batch time"],
    targets: Float[ArrayLike, "*batch time"],
) -> Float[np.ndarray, "*batch"]:
    """Returns the share of targets within an interval, its ends included.

    Args:
        lower: the lower end of the interval, e.g. the quantile 0.1 for a level of 80 %.
        upper: the upper end.
        targets: the observed values; NaN is missing.

    Raises:
        ValueError: if the shapes differ.
    """
    lower, observed = _check_targets("coverage", "lower", lower, targets)
    upper, _ = _check_targets("coverage", "upper", upper, targets)
    return _mean((lower <= observed) & (observed <= upper), observed)


def _check_targets(
    function: str, name: str, values: ArrayLike, targets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both in float64; raises ValueError unless there is one value for each target."""
    values, targets = np.asarray(values, np.float64), np.asarray(targets, np.float64)
    if values.shape != targets.shape or not targets.ndim:
        raise ValueError(
            f"{function}: {name} must be [*batch, time], one for each of the targets "
            f"{list(targets.shape)}, got {list(values.shape)}."
        )
    return values, targets


def _mean(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the mean over time of the values whose target is observed."""
    observed = ~np.isnan(targets)
    total, count = np.where(observed, values, 0).sum(-1), observed.sum(-1)
    return _ratio(np.asarray(total), np.asarray(count))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the ratio, NaN where the denominator is 0."""
    undefined = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)
