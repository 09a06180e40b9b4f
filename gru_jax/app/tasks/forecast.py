"""The next values of time series, with intervals, from a user's table.

inputs of each step -> noise -> [GRU -> dropout]* -> dense -> quantiles, less the last season

One pass gives the whole horizon: it reads y in the look-back, and in the horizon only what is known
of it. Units are those of the look-back's mean and standard deviation. `--model segrnn` is another
net, which forecasts the mean.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Key, Params
from gru_jax.app.tasks import (
    forecast_backtest,
    forecast_figures,
    forecast_files,
    forecast_page,
    forecast_table,
)
from gru_jax.app.tasks import forecast_data as data
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.app.tasks.forecast_data import Batch, Prepared
from gru_jax.app.tasks.task import BATCH, Facts, Goal, Mean, Parts, Task, weigh

SIZES = {"small": (32, 1), "medium": (64, 1), "large": (128, 2)}
"""Features of each state, and layers."""
HIDDEN, SEGMENT = 512, 24
"""Features of SegRNN's state, and steps of its segments, at most the horizon."""
STACK = 16
"""Batches in one compiled loop."""


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
    predictions = data.scaled_quantiles(outputs, batch)
    losses = _own_losses(facts, predictions, batch, _quantile_losses(facts, predictions, batch))
    return weigh(losses.mean(-1), batch.observed)


def _quantile_losses(facts: Facts, predictions: Array, batch: Batch) -> Array:
    quantiles = gj.level_quantiles(facts["levels"])
    return gj.quantile_loss(predictions, jnp.asarray(batch.targets), quantiles)


def _own_losses(facts: Facts, predictions: Array, batch: Batch, losses: Array) -> Array:
    """Returns the quantile losses with the squared error of a mean in its place."""
    if facts["net"] != "segrnn":
        return losses
    middle = len(facts["levels"])
    return losses.at[..., middle].set((predictions[..., middle] - batch.targets) ** 2)


def metrics(facts: Facts, outputs: Array, batch: Batch) -> dict[str, Mean]:
    """Returns the loss, and the scaled CRPS: in units of y, over all targets.

    Where a scale is that of a series, also the squared error in its units.
    """
    predictions = _order(facts, data.scaled_quantiles(outputs, batch))
    targets, scale = jnp.asarray(batch.targets), jnp.asarray(batch.scale)[:, None]
    losses = _quantile_losses(facts, predictions, batch)
    own = _own_losses(facts, predictions, batch, losses).mean(-1)
    y = jnp.asarray(batch.center)[:, None] + scale * targets
    crps = weigh(2 * scale * losses.mean(-1), batch.observed)
    crps = Mean(crps.total, weigh(jnp.abs(y), batch.observed).total)
    means = {"loss": weigh(own, batch.observed), "scaled_crps": crps}
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
        "data": f"{len(table.series)} series of {steps:,} steps{together}, "
        f"{missing:,} of them missing ({table.absent:,} without a row)",
        **({"ends": f"{times[0]} of {ends[first]} to {times[1]}"} if first < last else {}),
        "windows": sizes,
        "inputs": ", ".join(facts["inputs"]),
        "model": model,
    }


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
    load=forecast_table.load,
    learn=forecast_table.learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: len(facts["inputs"]),
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=forecast_table.read,
    prepare=data.prepare,
    batches=batches,
    steps=count_steps,
    apply=apply,
    baselines=forecast_backtest.measure_naive,
    figures=forecast_figures.draw,
    horizon=forecast_page.choose_window,
    test=forecast_backtest.measure,
    files=forecast_files.write_files,
    tabulate=forecast_files.tabulate,
)
