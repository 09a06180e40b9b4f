"""Two tasks for the command: the sum of a sequence's numbers, and whether it is positive."""

import dataclasses
from typing import Annotated

import jax
import numpy as np

import gru_jax as gj
from gru_jax.app.tasks import CONFIGS
from gru_jax.app.tasks.config import FREE, Config, Range
from gru_jax.app.tasks.table import TASKS
from gru_jax.app.tasks.task import Goal, Input, Parts, Task, weigh

EPOCHS = 15


@dataclasses.dataclass(frozen=True)
class SumConfig(Config):
    """Settings."""

    epochs: Annotated[int, Range(1, 1000)] = EPOCHS
    """Passes."""
    batch: Annotated[int, Range(1, 100), FREE] = 8
    """Sequences."""
    learning_rate: Annotated[float, Range(0, 1), FREE] = 2e-2
    """Rate."""
    hidden: Annotated[int, Range(1, 100)] = 8
    """Features."""


def add(patch, task):
    """Adds a task to those that the command knows."""
    patch.setitem(TASKS, task.name, task)
    patch.setitem(CONFIGS, task.name, task.Config)


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


def describe(config, _, parts):
    return {"task": f"the sum of {len(parts.train.xs)} sequences", "model": f"{config.hidden}"}


def read(_, __, path):
    sequences = gj.read_sequences(path, 2)
    xs = list(sequences.values())
    return Input(list(sequences), gj.Dataset(xs, np.zeros(len(xs), "int32")), known=False)


def scale(facts, data):
    return data._replace(xs=[x / np.float32(facts["scale"]) for x in data.xs])


def error(ys, batch):
    return weigh(gj.squared_error(ys, batch.targets).mean(-1), batch.valid)


def entropy(ys, batch):
    return weigh(gj.cross_entropy(ys, batch.targets), batch.valid)


SUM = Task(
    name="sum",
    Config=SumConfig,
    load=lambda config: load(config, sign=False),
    learn=lambda _, parts: {"scale": float(np.concatenate(parts.train.xs).std())},
    goal=lambda _: Goal("sums"),
    make_net=lambda config, _: make_net(config, 1),
    input_size=lambda _: 2,
    loss=lambda _, __, ys, batch: error(ys, batch),
    metrics=lambda _, ys, batch: {"loss": error(ys, batch)},
    predict=lambda _, ys, __: ys,
    describe=describe,
    read=read,
    prepare=scale,
)
SIGN = SUM._replace(
    name="sign",
    load=lambda config: load(config, sign=True),
    goal=lambda _: Goal(
        "signs", "hits", "max", {"hits": "fraction"}, ("minus", "plus"), "walk", "sign"
    ),
    make_net=lambda config, _: make_net(config, 2),
    loss=lambda _, __, ys, batch: entropy(ys, batch),
    metrics=lambda _, ys, batch: {
        "loss": entropy(ys, batch),
        "hits": weigh(gj.accuracy(ys, batch.targets), batch.valid),
    },
    predict=lambda _, ys, __: jax.nn.softmax(ys),
)
