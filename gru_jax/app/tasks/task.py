"""What can be trained: a task is a value, so that another one is another value.

    load(config)           -> Parts, of data in a form of the task's own
    learn(config, parts)   -> facts, all that using the net needs to know of the data
    prepare(facts, data)   -> data --batches--> stacks of batches
    apply(net, params, batch, carry, key) -> outputs, carry
    loss, metrics          -> Mean of outputs and a batch
    predict(facts, outputs, batch) -> answers

Runs, evaluation, prediction and explanation know a task by these functions alone.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Num

import gru_jax as gj
from gru_jax import Key, Params, Row
from gru_jax.app.tasks.config import Config

Arrays: TypeAlias = Array | np.ndarray
Facts: TypeAlias = dict[str, Any]
"""What JSON can hold: names of classes and channels, means and deviations, ..."""
BATCH = 256
"""Sequences in a batch of evaluation, at most."""


class Parts(NamedTuple):
    """The data of a task, as its source has them."""

    train: Any
    validation: Any
    test: Any


class Input(NamedTuple):
    """The content of a user's file."""

    names: Sequence[str]
    data: Any
    known: bool
    """Whether the data hold the targets, too."""


class Mean(NamedTuple):
    """A mean to be taken over batches: the sum of `total` over the sum of `weight`."""

    total: Float[Array, "..."]
    weight: Num[Array, "..."]


class Table(NamedTuple):
    """Answers for people and files."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def as_csv(self) -> str:
        """Returns the table as a CSV file has it."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


class Published(NamedTuple):
    """Somebody's value of the metric that a task monitors."""

    model: str
    value: float
    source: str


class Goal(NamedTuple):
    """What a task measures on its data, in words.

    Attributes:
        title: name of the data, for people.
        monitor: the metric that tells the best parameters.
        mode: whether its lowest or its highest value is the best.
        units: units of metrics; a "fraction" is printed in per cent.
        classes: names of the classes that `predict` has probabilities of; () if it has values.
        sample: word for a sequence.
        target: word for its class.
        published: values of `monitor` to compare with.
        also: metrics of the test that are printed below the monitored one.
        inputs: names of the features of a step, for figures; () if they have none.
        metrics: more metrics to print beside `monitor`.
    """

    title: str
    monitor: str = "loss"
    mode: Literal["min", "max"] = "min"
    units: Mapping[str, str] = {}
    classes: tuple[str, ...] = ()
    sample: str = "sequence"
    target: str = "class"
    published: tuple[Published, ...] = ()
    also: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


def weigh(values: Float[Arrays, "*shape"], mask: Bool[Arrays, "*shape"]) -> Mean:
    """Returns the mean of the values where the mask is True."""
    return Mean(jnp.where(mask, values, 0), jnp.asarray(mask))


def weigh_steps(values: Float[Arrays, "batch time"], lengths: Int[Arrays, " batch"]) -> Mean:
    """Returns the mean of the values of all steps before the padding."""
    return weigh(values, jnp.arange(values.shape[1])[None] < jnp.asarray(lengths)[:, None])


def apply(net: gj.Layer, params: Params, batch: Any, carry: Any, key: Key | None) -> Any:
    """Returns the net's outputs, and the carry as it came: the usual `Task.apply`."""
    return net.apply(params, batch.xs, lengths=batch.lengths, key=key)[0], carry


def make_batches(config: Config, data: gj.Dataset, epoch: int | None) -> Iterator[gj.Batch]:
    """Yields stacks of batches of a `gj.Dataset`: the usual `Task.batches`."""
    if epoch is None:
        return gj.make_batches(data, min(len(data.xs), BATCH), steps=1)
    return gj.make_batches(data, config.batch, seed=config.seed, epoch=epoch)


def count_steps(config: Config, data: gj.Dataset) -> int:
    """Returns the number of batches in an epoch of a `gj.Dataset`: the usual `Task.steps`."""
    return math.ceil(len(data.xs) / config.batch)


def make_optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Builds the usual `Task.optimizer`."""
    return gj.make_optimizer(config.learning_rate, steps=steps, weight_decay=config.weight_decay)


def tabulate(trained: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns label and probabilities, or values, of each sequence: the usual `Task.tabulate`."""
    classes, rows = trained.goal.classes, answers.reshape(len(answers), -1)
    if classes:
        heads = ["sequence", "label", *(f"p_{name}" for name in classes)]
        labels = [classes[i] for i in rows.argmax(-1)]
        return Table(
            heads,
            [
                [name, label, *(f"{p:.6f}" for p in row)]
                for name, label, row in zip(source.names, labels, rows, strict=True)
            ],
        )
    return Table(
        ["sequence", *(f"value_{i}" for i in range(rows.shape[1]))],
        [
            [name, *(f"{value:.6g}" for value in row)]
            for name, row in zip(source.names, rows, strict=True)
        ],
    )


class Training(NamedTuple):
    """Training by a step of the task's own.

    Attributes:
        start: `(key, params) -> TrainState`, before the first step.
        step: `(TrainState, batch) -> (TrainState, metrics)`.
    """

    start: Callable[[Key, Params], gj.TrainState]
    step: gj.TrainStep


class Task(NamedTuple):
    """A problem with its data, its net, and its words.

    Attributes:
        name: key in `TASKS`, and the folder of its runs.
        Config: dataclass of its settings, see `config.check`.
        load: `(config) -> Parts`.
        learn: `(config, parts) -> facts`, of the training part alone.
        goal: `(facts) -> Goal`; raises ValueError if the facts are not such a task's.
        make_net: `(config, facts) -> net`.
        input_size: `(facts) -> int`, the features of one step, or the number of tokens.
        loss: `(config, facts, outputs, batch) -> Mean`, minimised in training.
        metrics: `(facts, outputs, batch) -> {name: Mean}`. `gru-jax explain` needs "loss".
        predict: `(facts, outputs, batch) -> [sequences, ...]`, the answers: probabilities of
            classes, or values.
        describe: `(config, facts, parts) -> {name: fact}`, the first lines of a training.
        read: `(config, facts, path) -> Input`, of a user's file.
        prepare: `(facts, data) -> data`, as `batches` takes it.
        batches: `(config, data, epoch) -> stacks of batches` with `xs`, `lengths` and `valid`,
            `[steps, batch, ...]`. Epoch None is for evaluation, in order.
        steps: `(config, data) -> int`, the batches of an epoch.
        apply: `(net, params, batch, carry, key) -> (outputs, carry)`, one row a sequence.
        carry: `(net, params, rows) -> carry` before the first batch, which has so many rows.
        optimizer: `(config, steps) -> tx`, for so many steps in all.
        tabulate: `(trained, source, answers) -> Table` of a user's `Input`, for a file.
        baselines: `(config, facts, data) -> {name: metrics}`, of answers that need no training.
        derive: `(result) -> {test_name: number}`, of a test's means and confusion matrix, for what
            is no mean itself.
        figures: `(trained, data, folder) -> paths` of more figures for the test data, drawn with
            matplotlib.
        test: `(trained, data) -> {name: metric}` of test data, or of a user's file, where means
            over batches are not enough.
        files: `(trained, data, folder) -> (paths, notes)` of more files for the test data, and
            sentences about them.
        horizon: `(trained, data) -> xs, plot.Horizon` of one sequence, for a page, if its outputs
            are a forecast.
        training: `(config, facts, net, tx) -> Training`, if a step is not the gradient of `loss`.
        measure: `(trained, prepared) -> {name: metric}`, if metrics are not means over batches.
        hidden_because: why `gru-jax explain` cannot look inside, after "which" or "whose"; "" if
            it can.
    """

    name: str
    Config: type[Config]
    load: Callable[[Any], Parts]
    learn: Callable[[Any, Parts], Facts]
    goal: Callable[[Facts], Goal]
    make_net: Callable[[Any, Facts], gj.Layer]
    input_size: Callable[[Facts], int]
    loss: Callable[[Any, Facts, Array, Any], Mean]
    metrics: Callable[[Facts, Array, Any], dict[str, Mean]]
    predict: Callable[[Facts, Array, Any], Array]
    describe: Callable[[Any, Facts, Parts], dict[str, str]]
    read: Callable[[Any, Facts, Path], Input]
    prepare: Callable[[Facts, Any], Any] = lambda _, data: data
    batches: Callable[[Any, Any, int | None], Iterator[Any]] = make_batches
    steps: Callable[[Any, Any], int] = count_steps
    apply: Callable[[gj.Layer, Params, Any, Any, Key | None], tuple[Array, Any]] = apply
    carry: Callable[[gj.Layer, Params, int], Any] = lambda *_: ()
    optimizer: Callable[[Any, int], optax.GradientTransformation] = make_optimizer
    tabulate: Callable[[Any, Input, np.ndarray], Table] = tabulate
    baselines: Callable[[Any, Facts, Any], dict[str, Row]] = lambda *_: {}
    derive: Callable[[dict[str, Any]], Row] = lambda _: {}
    figures: Callable[[Any, Any, Path], list[Path]] = lambda *_: []
    test: Callable[[Any, Any], Row] | None = None
    files: Callable[[Any, Any, Path], tuple[list[Path], list[str]]] = lambda *_: ([], [])
    horizon: Callable[[Any, Any], tuple[np.ndarray, Any]] | None = None
    training: Callable[[Any, Facts, gj.Layer, Any], Training] | None = None
    measure: Callable[[Any, Any], Row] | None = None
    hidden_because: str = ""
