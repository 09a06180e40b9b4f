"""An estimator that forecasts time series: the net of `gru-jax train forecast`.

    table | path | arrays [time] -> series on a grid -> windows -> FORECAST -> table of quantiles

Forecasts are those of the command: it trains, tests and writes with the same functions.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import gru_jax as gj
from gru_jax.app import problem as problems
from gru_jax.app.tasks import forecast_backtest
from gru_jax.app.tasks.forecast import FORECAST
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.app.tasks.forecast_data import Source
from gru_jax.app.tasks.forecast_table import load_table
from gru_jax.app.tasks.task import Input, Table
from gru_jax.estimators.training import RandomState, as_python, check_values, draw_seed, train

if TYPE_CHECKING:
    import pandas
    import polars

Series = Any
"""A DataFrame of polars or pandas, a path, an array or a Series `[time]`, or a list of these."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class GRUForecaster(BaseEstimator):
    """A GRU that forecasts time series with intervals.

        model = GRUForecaster(horizon=48, target="Demand", time="Time", future="Temperature")
        model.fit(table).predict()

    A row of a table is a step of a series, as `gj.read_series` takes it. The rows after the last
    target are the known future. Arrays `[time]` are series `0`, `1`, ... with times 0, 1, ...; NaN
    is missing. Forecasts equal those of the command with the same settings and seed.

    Parameters, `clone`, `repr` and pickling work as in scikit-learn. The estimator passes the
    checks of `check_estimator` that do not call `fit`. The others do not apply: X is a table that
    holds the targets, not an array `[samples, features]` with a `y`. For the same reason there is
    no `score` and no `n_features_in_`; `backtest_` replaces `cross_val_score`.

    Attributes:
        net_: the trained net, a `gj.Layer`.
        params_: the parameters of the best epoch in validation.
        facts_: frequency, season, sizes and statistics of the training data.
        history_: a row of numbers for each epoch, as in `metrics.jsonl`.
        backtest_: the metrics of the test windows, of `gru_jax` and of `seasonal_naive`; empty
            with `windows=0`.
    """

    target: str | Sequence[str] = ForecastConfig.target
    """Column to forecast; several columns are one series each. Arrays need none."""
    id: str | None = ForecastConfig.id
    """Column that tells the series apart, where the table holds several."""
    time: str = ForecastConfig.time
    """Column of times: dates, or integers."""
    future: str | Sequence[str] = ForecastConfig.future
    """Columns that are known for the steps to forecast, e.g. holidays."""
    past: str | Sequence[str] = ForecastConfig.past
    """Columns that are known only as long as the target is."""
    horizon: int | None = ForecastConfig.horizon
    """Steps to forecast; None is a season."""
    lookback: int | None = ForecastConfig.lookback
    """Input steps of a forecast; None is the larger of three seasons and two horizons, but at
    most 400 steps."""
    freq: str | int | None = ForecastConfig.freq
    """Time between two steps: 30min, h, D, W, MS, QS, YS, or a number; None is the most common."""
    season: int | None = ForecastConfig.season
    """Steps per season; None is a day, a week or a year, depending on the step, and 1 for integer
    times."""
    level: float | Sequence[float] = ForecastConfig.level
    """Coverage of the intervals, in per cent."""
    windows: int = ForecastConfig.windows
    """Test windows of each series, at its end; 0 is no test."""
    step: int | None = ForecastConfig.step
    """Steps between two test windows; None is the horizon."""
    validation: int | None = ForecastConfig.validation
    """Validation windows of each series, before the test; None is as many as test windows, or
    as fit in a tenth of the shortest series (at most 32), whichever is more."""
    epoch_windows: int = ForecastConfig.epoch_windows
    """Training windows in an epoch, at most; each epoch draws others."""
    model: Literal["small", "medium", "large", "segrnn"] = "medium"
    """GRU layers: 1 of 32, 1 of 64 or 2 of 128 features; or SegRNN (2023), with a GRU of 512 over
    segments, which reads the target alone."""
    scale: Literal["window", "series"] = "window"
    """Scales the target by mean and standard deviation of each look-back, or of each series'
    training steps; with the latter, other series cannot be forecast."""
    noise: float = ForecastConfig.noise
    """Standard deviation of the noise on the scaled inputs, in training."""
    dropout: float = ForecastConfig.dropout
    """Share of features dropped after each layer, in training."""
    epochs: int = ForecastConfig.epochs
    """Passes over the training windows, or over `epoch_windows` of them."""
    patience: int = ForecastConfig.patience
    """Epochs without a better validation, after which training stops."""
    batch: int = ForecastConfig.batch
    """Windows in a batch."""
    learning_rate: float = ForecastConfig.learning_rate
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: float = ForecastConfig.weight_decay
    """Decoupled weight decay of AdamW."""
    random_state: RandomState = 0
    """Seeds the parameters, the order of the data, noise and dropout."""

    def fit(self, X: Series, y: None = None) -> "GRUForecaster":
        """Trains on all series of a table, tests on their last windows, and returns the estimator.

        Args:
            X: the table, its path, or arrays.
            y: None; the targets are in X.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a setting or the table is wrong, or the loss does not stay finite; the
                message names the column and the row, counted from 1.
        """
        if y is not None:
            raise ValueError(
                f"{_NAME}: y must be None, as X holds the targets, got {type(y).__name__}."
            )
        config = self._make_config(arrays=_is_arrays(X))
        if not config.target:
            raise ValueError(f"{_NAME}: target must name a column of the table, got none.")
        source = _read(X, config)
        task = FORECAST._replace(load=lambda config: load_table(config, source))
        problem, trained, self.history_ = train(_NAME, task, config)
        self.backtest_, test = {}, problem.parts.test
        if config.windows:
            self.backtest_ = {"gru_jax": forecast_backtest.measure(trained, test)}
            self.backtest_ |= forecast_backtest.measure_naive(config, trained.facts, test)
        self._config, self._table = config, problem.parts.train.table
        self._pandas = _is_pandas(X)
        _, _, self.facts_, self.net_, self.params_ = trained
        return self

    def predict(self, X: Series = None) -> "polars.DataFrame | pandas.DataFrame":
        """Returns the quantiles of the steps after the last target of each series.

        The table is one of pandas if the series came in one, else one of polars. Its columns are
        `unique_id`, a text; `ds`, a `Datetime` or an integer; `gru_jax`, the median
        or, with `model="segrnn"`, the mean; and `gru_jax-lo-80`, `gru_jax-hi-80` for each level.

        Args:
            X: a table with the columns of the fitted one; None is the fitted one.

        Raises:
            sklearn.exceptions.NotFittedError: if nothing was fitted.
            ValueError: if the table is wrong, shorter than the look-back, or lacks the future.
        """
        check_is_fitted(self, "params_")
        data = Source(self._table, None)
        if X is not None:
            self._check_arrays(X)
            data = FORECAST.read(self._config, self.facts_, _read(X, self._config)).data
        trained = problems.Trained(FORECAST, self._config, self.facts_, self.net_, self.params_)
        answers = problems.answer(trained, FORECAST.prepare(self.facts_, data))
        table = FORECAST.tabulate(trained, Input([], data, known=False), answers)
        frame, pandas = _as_frame(table, data.table), sys.modules.get("pandas")
        if pandas and (self._pandas if X is None else _is_pandas(X)):
            return pandas.DataFrame(frame.to_dict(as_series=False))
        return frame

    def _check_arrays(self, X: Series) -> None:
        """Raises ValueError if arrays are not those of the fit, where each has its own scale."""
        known = len(self.facts_["series"])
        if known and _is_arrays(X) and (given := len(_as_arrays(X))) != known:
            raise ValueError(
                f"{_NAME}: X must be {known} arrays, as in fit, for each has a scale or a vector "
                f"of its own, got {given}."
            )

    def _make_config(self, *, arrays: bool) -> ForecastConfig:
        """Returns the settings as the command has them."""
        settings: dict[str, Any] = as_python(self.get_params())
        seed = draw_seed(settings.pop("random_state"))
        if arrays:
            if self.horizon is None and self.season is None:
                raise ValueError(f"{_NAME}: horizon or season must be given for arrays, got none.")
            settings |= {"id": self.id or "unique_id", "target": self.target or "y"}
        for name in ("target", "future", "past"):
            names = settings[name]
            settings[name] = (names,) if isinstance(names, str) else tuple(names)
        settings["level"] = tuple(map(float, np.atleast_1d(self.level)))
        settings["freq"] = None if self.freq is None else str(self.freq)
        return ForecastConfig(seed=seed, **settings)


_NAME = GRUForecaster.__name__


def _is_arrays(X: Any) -> bool:
    """Returns whether X is an array, a Series of a data frame, or a list of these."""
    return isinstance(X, list | tuple | np.ndarray | jax.Array) or (
        hasattr(X, "to_numpy") and not hasattr(X, "columns")
    )


def _is_pandas(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] == "pandas"


def _read(X: Series, config: ForecastConfig) -> Any:
    """Returns a path or a frame; arrays become a frame with the columns of the settings."""
    import polars as pl

    if not _is_arrays(X):
        return X
    ys = _as_arrays(X)
    steps = [np.arange(len(y)) for y in ys]
    columns = {config.time: np.concatenate(steps), config.target[0]: np.concatenate(ys)}
    if config.id is not None:
        columns[config.id] = np.repeat([str(i) for i in range(len(ys))], list(map(len, ys)))
    return pl.DataFrame(columns)


def _as_arrays(X: Any) -> list[np.ndarray]:
    """Returns a list of arrays, from one array or several."""
    try:
        one = not isinstance(X, list | tuple) or not any(np.ndim(y) for y in X)
        ys = [np.asarray(y, np.float64) for y in ([X] if one else X)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_NAME}: X must hold numbers, but NumPy says: {error}.") from error
    shapes = [y.shape for y in ys]
    if not all(len(shape) == 1 and shape[0] for shape in shapes):
        raise ValueError(
            f"{_NAME}: X must be a table, a path, or arrays [time] with one step or more, "
            f"got shapes {shapes[:4]}."
        )
    check_values(_NAME, ys)
    return ys


def _as_frame(answers: Table, table: gj.SeriesTable) -> "polars.DataFrame":
    """Converts the texts of a forecast to names, times and numbers."""
    import polars as pl

    names, texts, *columns = zip(*answers.rows, strict=True)
    if table.freq.unit == "integer":
        times = pl.Series(map(int, texts))
    else:
        times = pl.Series(np.array([text.removesuffix("Z") for text in texts], "datetime64[us]"))
        times = times.dt.replace_time_zone("UTC") if table.utc else times
    numbers = [list(map(float, column)) for column in columns]
    return pl.DataFrame(dict(zip(answers.columns, [names, times, *numbers], strict=True)))
