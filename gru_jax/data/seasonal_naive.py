"""The seasonal naive forecast: the last season again, and how much it varies.

prediction_h   the last observed y, a whole number of seasons before the step
residual_t     y_t - y_{t-season}
sigma_h        sqrt(mean residual^2 * seasons between the two)
quantile_h     prediction_h + sigma_h * normal quantile
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from gru_jax.data.checks import check_counts


def seasonal_naive(
    y: Float[np.ndarray, "*batch time"], season: int, horizon: int, quantiles: Sequence[float]
) -> Float[np.ndarray, "*batch horizon quantiles"]:
    """Forecasts the last season again, with quantiles of normal residuals.

    Missing values are NaN. The season before replaces a missing value; the forecast is then one
    season older, and its interval wider. A forecast is NaN if no step of its phase is observed. All
    quantiles but the median are NaN if no two steps a season apart are observed.

    Args:
        y: the observed values.
        season: steps of a season; 1 repeats the last value.
        horizon: steps to forecast.
        quantiles: numbers between 0 and 1, e.g. from `level_quantiles`.

    Returns:
        The quantiles of each step, in float64.

    Raises:
        ValueError: if y is not longer than a season, or another argument is out of range.

    References:
        Hyndman and Athanasopoulos (2021), "Forecasting: principles and practice", 3rd edition,
        sections 5.2 and 5.5; statsforecast's SeasonalNaive.
    """
    check_counts("seasonal_naive", season=season, horizon=horizon)
    if not all(0 < q < 1 for q in quantiles):
        raise ValueError(
            f"seasonal_naive: quantiles must be numbers between 0 and 1, got {list(quantiles)}."
        )
    y = np.asarray(y, np.float64)
    if not y.ndim or y.shape[-1] <= season:
        raise ValueError(
            f"seasonal_naive: y must have more steps than a season of {season}, got {y.shape}."
        )
    residuals = y[..., season:] - y[..., :-season]
    count = np.maximum((~np.isnan(residuals)).sum(-1), 1)
    sigma = np.where(
        np.isnan(residuals).all(-1), np.nan, np.sqrt(np.nansum(residuals**2, -1) / count)
    )
    value, age = _last_seasons(y, season, horizon)
    spread = sigma[..., None] * np.sqrt(age)
    normal = [NormalDist().inv_cdf(q) for q in quantiles]
    return np.stack([value + (z * spread if z else 0) for z in normal], -1)


def _last_seasons(y: np.ndarray, season: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the last observed value of each step's phase, and the seasons since then."""
    seasons = -(-y.shape[-1] // season)
    padding = [(0, 0)] * (y.ndim - 1) + [(seasons * season - y.shape[-1], 0)]
    folded = np.pad(y, padding, constant_values=np.nan).reshape(*y.shape[:-1], seasons, season)
    back = np.argmin(np.isnan(folded[..., ::-1, :]), -2)
    value = np.take_along_axis(folded, seasons - 1 - back[..., None, :], -2)[..., 0, :]
    ahead, phase = np.divmod(np.arange(horizon), season)
    return value[..., phase], back[..., phase] + ahead + 1
