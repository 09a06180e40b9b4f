"""The next values of time series, with intervals, from a user's table.

inputs of each step -> noise -> [GRU -> dropout]* -> dense -> quantiles, less the last season

One pass gives the whole horizon: it reads y in the look-back, and in the horizon only what is known
of it. Units are those of the look-back's mean and standard deviation. `--model segrnn` is another
net, which forecasts the mean.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Key, Params
from gru_jax.app.tasks import forecast_backtest, forecast_files
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.app.tasks.forecast_data import Batch, Prepared, Source
from gru_jax.app.tasks.task import BATCH, Facts, Goal, Input, Mean, Parts, Task, weigh

SIZES = {"small": (32, 1), "medium": (64, 1), "large": (128, 2)}
"""Features of each state, and layers."""
HIDDEN, SEGMENT = 512, 24
"""Features of SegRNN's state, and steps of its segments, at most the horizon."""
SEASONS, LOOKBACK = 3, 400
"""Seasons in a look-back, and its steps at most, unless its length is given."""
STACK = 16
"""Batches in one compiled loop."""


def load(config: ForecastConfig) -> Parts:
    """Returns the training, the validation and the test windows of the file."""
    if config.data is None or not config.target:
        missing = "--data FILE" if config.data is None else "--target COLUMN"
        raise ValueError(f"train: {missing} is missing; see gru-jax train forecast --help.")
    if not config.windows:
        raise ValueError("train: windows must be a whole number from 1, got 0.")
    return load_table(config, Path(config.data))


def load_table(config: ForecastConfig, source: Any) -> Parts:
    """Returns the windows of a file or of a data frame; without test windows, that part is empty.

    Raises:
        ValueError: if it does not hold such series, or a part has no target other than 0.
    """
    gj.level_quantiles(config.level)
    if config.model == "segrnn" and (config.future or config.past or config.noise):
        raise ValueError(
            "train: model segrnn reads the target alone, so future, past and noise must not be set."
        )
    table = read_table(config, source, config.freq, config.season)
    horizon = config.horizon or table.season
    step, shortest = config.step or horizon, min(len(series.y) for series in table.series)
    validation = config.validation or max(config.windows, min(32, shortest // 10 // step), 1)
    held_out = sum(horizon + step * (n - 1) for n in (config.windows, validation) if n)
    wish = min(max(SEASONS * table.season, 2 * horizon), LOOKBACK)
    lookback = config.lookback or max(min(wish, (shortest - held_out - horizon) // 2), 1)
    calendar = [] if config.model == "segrnn" else data.find_calendar(table)
    table = data.add_calendar(table, calendar, horizon)
    options = {"validation": validation, "test": config.windows, "step": step}
    split = gj.split_windows(table, lookback, horizon, scale=config.scale, **options)
    for name, part in zip(("validation", "test"), split[1:], strict=True):
        places = zip(part.series, part.cutoffs, strict=True)
        ys = [np.nan_to_num(table.series[i].y[c : c + horizon]) for i, c in places]
        if ys and not np.any(ys):
            raise ValueError(
                f"{config.data or 'table'}: the {name} windows must hold a target other than 0, "
                "but have none."
            )
    return Parts(*(Source(table, part) for part in split))


def read_table(
    config: ForecastConfig, source: Any, freq: str | None, season: int | None
) -> gj.SeriesTable:
    """Returns the series of a file or of a data frame, with the columns of the settings."""
    return gj.read_series(
        source,
        target=config.target,
        id=config.id,
        time=config.time,
        future=config.future,
        past=config.past,
        freq=freq,
        season=season,
    )


def learn(config: ForecastConfig, parts: Parts) -> Facts:
    """Returns the grid of the series, the sizes of a window, and the statistics of covariates."""
    table, windows = parts.train
    mean, std = windows.standardization
    segrnn, scales = config.model == "segrnn", windows.scales
    named = segrnn or scales is not None
    names = [series.id for series in table.series] if named else []
    last = [f"{name} last season" for name in ("y", *config.future)]
    return {
        "net": "segrnn" if segrnn else "gru",
        "data": data.digest(table),
        "freq": str(table.freq),
        "season": table.season,
        "future": list(config.future),
        "calendar": [] if segrnn else data.find_calendar(table),
        "inputs": ["y", "series"][: min(len(names), 2)] if segrnn else [*table.inputs, *last],
        "series": names,
        "scales": [] if scales is None else scales.tolist(),
        "lookback": windows.lookback,
        "horizon": windows.horizon,
        "levels": list(config.level),
        "mean": np.asarray(mean, float).tolist(),
        "std": np.asarray(std, float).tolist(),
    }


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    _check_facts(facts)
    mean = facts["net"] == "segrnn"
    coverages = [f"coverage_{level:g}" for level in sorted(facts["levels"])]
    return Goal(
        title=f"the test windows of {facts['horizon']} steps",
        monitor="scaled_mse" if mean and facts["scales"] else "scaled_crps",
        units={name: "fraction" for name in coverages},
        sample="window",
        target="forecast",
        metrics=("mase", "mae", *["scaled_mse", "scaled_mae"] * bool(facts["scales"]), *coverages),
    )


def _check_facts(facts: Facts) -> None:
    """Raises ValueError if the facts do not describe inputs and windows."""
    numbers, future = np.array([facts["mean"], facts["std"]], np.float64), facts["future"]
    counts = [facts[name] for name in ("season", "lookback", "horizon")]
    covariates = 0 if facts["net"] == "segrnn" else len(facts["inputs"]) - 4 - len(future)
    if numbers.shape != (2, covariates) or not np.isfinite(numbers).all():
        raise ValueError("its facts must have a finite mean and deviation of each covariate")
    if numbers[1].min(initial=1) <= 0 or not all(type(n) is int and n > 0 for n in counts):
        raise ValueError("its facts must have deviations and counts above 0")
    scales = np.array(facts["scales"] or [[0, 1]] * len(facts["series"]), float).reshape(-1, 2)
    if len(scales) != len(facts["series"]) or not (np.isfinite(scales) & (scales[:, 1:] > 0)).all():
        raise ValueError("its facts must have a finite center and a scale above 0 for each series")
    gj.level_quantiles(facts["levels"])


def make_net(config: ForecastConfig, facts: Facts) -> gj.Layer:
    """Builds the net: inputs of look-back and horizon in, quantiles of each step out."""
    outputs = 2 * len(facts["levels"]) + 1
    if config.model == "segrnn":
        return gj.seg_rnn(
            facts["horizon"],
            outputs,
            hidden_size=HIDDEN,
            segment=min(SEGMENT, facts["horizon"]),
            series=len(facts["series"]),
            dropout=config.dropout,
        )
    hidden, layers = SIZES[config.model]
    layer = [gj.recurrent(gj.gru(hidden)), gj.dropout(config.dropout)]
    return gj.stack(gj.gaussian_noise(config.noise), *layer * layers, gj.dense(outputs))


def loss(_: ForecastConfig, facts: Facts, outputs: Array, batch: Batch) -> Mean:
    """Returns the quantile loss in scaled units, mean over the quantiles.

    SegRNN has the squared error in the median's place.
    """
    return weigh(_losses(facts, data.scaled_quantiles(outputs, batch), batch), batch.observed)


def _losses(facts: Facts, predictions: Array, batch: Batch) -> Array:
    targets, middle = jnp.asarray(batch.targets), len(facts["levels"])
    losses = gj.quantile_loss(predictions, targets, gj.level_quantiles(facts["levels"]))
    if facts["net"] == "segrnn":
        losses = losses.at[..., middle].set((predictions[..., middle] - targets) ** 2)
    return losses.mean(-1)


def metrics(facts: Facts, outputs: Array, batch: Batch) -> dict[str, Mean]:
    """Returns the loss, and the scaled CRPS: in units of y, over all targets.

    Where a scale is that of a series, also the squared error in its units.
    """
    predictions = _order(facts, data.scaled_quantiles(outputs, batch))
    targets, scale = jnp.asarray(batch.targets), jnp.asarray(batch.scale)[:, None]
    losses = gj.quantile_loss(predictions, targets, gj.level_quantiles(facts["levels"])).mean(-1)
    y = jnp.asarray(batch.center)[:, None] + scale * targets
    crps = Mean(
        weigh(2 * scale * losses, batch.observed).total, weigh(jnp.abs(y), batch.observed).total
    )
    means = {"loss": weigh(_losses(facts, predictions, batch), batch.observed), "scaled_crps": crps}
    if facts["scales"]:
        errors = predictions[..., len(facts["levels"])] - targets
        means["scaled_mse"] = weigh(errors**2, batch.observed)
    return means


def _order(facts: Facts, quantiles: Array) -> Array:
    """Returns the quantiles in order, so that they do not cross; a mean keeps its place."""
    if facts["net"] != "segrnn":
        return jnp.sort(quantiles, -1)
    middle = len(facts["levels"])
    others = jnp.sort(jnp.delete(quantiles, middle, -1), -1)
    return jnp.insert(others, middle, quantiles[..., middle], -1)


def apply(
    net: gj.Layer, params: Params, batch: Batch, carry: Any, key: Key | None
) -> tuple[Array, Any]:
    """Returns the net's outputs; no window has padding."""
    return net.apply(params, batch.xs, key=key)[0], carry


def predict(facts: Facts, outputs: Array, batch: Batch) -> Float[Array, "batch horizon quantiles"]:
    """Returns the quantiles in units of y."""
    scaled = _order(facts, data.scaled_quantiles(outputs, batch))
    center, scale = (jnp.asarray(each)[:, None, None] for each in (batch.center, batch.scale))
    return center + scale * scaled


def describe(config: ForecastConfig, facts: Facts, parts: Parts) -> dict[str, str]:
    """Returns the data and the model in words."""
    table = parts.train.table
    sizes = ", ".join(f"{len(p.windows.starts):,} {n}" for n, p in parts._asdict().items())
    steps = sum(len(series.y) for series in table.series)
    missing = sum(int(np.isnan(series.y).sum()) for series in table.series)
    model = f"SegRNN, GRU of {HIDDEN}, dense"
    if config.model != "segrnn":
        model = "GRU, {1} x {0}, dense".format(*SIZES[config.model])
    together = " in all" if len(table.series) > 1 else ""
    ends = {series.times[-1]: series.id for series in table.series}
    first, last = min(ends), max(ends)
    times = gj.format_times(np.array([first, last]), utc=table.utc)
    return {
        "task": f"forecast {', '.join(config.target)}: {facts['horizon']} steps of "
        f"{facts['freq']}, season {facts['season']}, from {facts['lookback']} steps",
        "data": f"{len(table.series)} series of {steps:,} steps{together}, {missing:,} of them missing "
        f"({table.absent:,} without a row)",
        **({"ends": f"{times[0]} of {ends[first]} to {times[1]}"} if first < last else {}),
        "windows": sizes,
        "inputs": ", ".join(facts["inputs"]),
        "model": model,
    }


def read(config: ForecastConfig, facts: Facts, source: Any) -> Input:
    """Returns the series of a user's file or data frame, to forecast after their last targets."""
    table = read_table(config, source, facts["freq"], facts["season"])
    table = data.add_calendar(table, facts["calendar"], facts["horizon"])
    return Input([series.id for series in table.series], Source(table, None), known=False)


def batches(config: ForecastConfig, prepared: Prepared, epoch: int | None) -> Iterator[Batch]:
    """Yields the windows in order, or those that an epoch draws."""
    if epoch is None:
        return data.in_order(prepared, BATCH)
    limit = config.epoch_windows
    return data.batches(
        prepared, config.batch, seed=config.seed, epoch=epoch, limit=limit, steps=STACK
    )


def count_steps(config: ForecastConfig, prepared: Prepared) -> int:
    """Returns the number of batches in an epoch."""
    return math.ceil(min(len(prepared.windows.starts), config.epoch_windows) / config.batch)


FORECAST = Task(
    name="forecast",
    Config=ForecastConfig,
    load=load,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: len(facts["inputs"]),
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=read,
    prepare=data.prepare,
    batches=batches,
    steps=count_steps,
    apply=apply,
    baselines=forecast_backtest.measure_naive,
    figures=forecast_files.draw,
    test=forecast_backtest.measure,
    files=forecast_files.write_files,
    tabulate=forecast_files.tabulate,
)
