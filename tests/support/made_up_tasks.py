"""Two tasks for the command: the sum of a sequence's numbers, and whether it is positive."""

import dataclasses
from typing import Annotated

import jax
import numpy as np

import gru_jax as gj
from gru_jax.app.tasks.task import Config, Parts, Range, Task

EPOCHS = 15


@dataclasses.dataclass(frozen=True)
class SumConfig(Config):
    """Settings."""

    epochs: Annotated[int, Range(1, 1000)] = EPOCHS
    """Passes."""
    batch: Annotated[int, Range(1, 100)] = 8
    """Sequences."""
    learning_rate: Annotated[float, Range(0, 1)] = 2e-2
    """Rate."""
    hidden: Annotated[int, Range(1, 100)] = 8
    """Features."""


def draw(seed, count, sign):
    rng = np.random.default_rng(seed)
    xs = [rng.normal(size=(n, 2)).astype("float32") for n in rng.integers(1, 9, count)]
    sums = np.array([x[:, 0].sum() for x in xs], "float32")
    return gj.Dataset(xs, (sums > 0).astype("int32") if sign else sums[:, None])


def load(config, sign):
    sizes = {"train": 64, "validation": 16, "test": 20}
    return Parts(*(draw([config.seed, i], n, sign) for i, n in enumerate(sizes.values())))


def make_net(config, outputs):
    cell = gj.gru(config.hidden, reset="after")
    memory = gj.recurrent(cell, reverse=outputs == 2)
    return gj.stack(gj.residual(gj.dense(2)), memory, gj.pool("last"), gj.dense(outputs))


def describe(config, parts):
    return {"task": f"the sum of {len(parts.train.xs)} sequences", "model": f"{config.hidden}"}


SUM = Task(
    name="sum",
    title="sums",
    Config=SumConfig,
    input_size=2,
    load=lambda config: load(config, sign=False),
    make_net=lambda config: make_net(config, 1),
    loss=lambda _, ys, targets: gj.squared_error(ys, targets).mean(-1),
    metrics=lambda ys, targets: {"loss": gj.squared_error(ys, targets).mean(-1)},
    predict=lambda ys: ys,
    describe=describe,
    statistics=lambda train: {"scale": [float(np.concatenate(train.xs).std())]},
    prepare=lambda statistics, xs: [x / np.float32(statistics["scale"][0]) for x in xs],
)
SIGN = SUM._replace(
    name="sign",
    title="signs",
    load=lambda config: load(config, sign=True),
    make_net=lambda config: make_net(config, 2),
    loss=lambda _, ys, targets: gj.cross_entropy(ys, targets),
    metrics=lambda ys, targets: {
        "loss": gj.cross_entropy(ys, targets),
        "hits": gj.accuracy(ys, targets),
    },
    predict=jax.nn.softmax,
    monitor="hits",
    mode="max",
    classes=("minus", "plus"),
    units={"hits": "fraction"},
    sample="walk",
    target="sign",
)
