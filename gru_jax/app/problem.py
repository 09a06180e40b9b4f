"""A task made ready: its net is built once, its data are loaded and prepared once.

make_problem(task, config) -> Problem
train(problem, make_loop(problem), init_progress(problem)) -> Progress
evaluate(task, outputs(task, net, params, xs), targets) -> means of the metrics
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Key, Metrics, Params, Row, TrainStep
from gru_jax.app.tasks.task import Config, Parts, Statistics, Task, check


class Problem(NamedTuple):
    """A task with its settings, its net and its data; `train` and `validation` are prepared."""

    task: Task
    config: Config
    net: gj.Layer
    recurrence: str
    """The code that runs the net's recurrences in training."""
    parts: Parts
    statistics: Statistics
    train: gj.Dataset
    validation: gj.Dataset
    steps: int
    """Batches in one pass over the training data."""
    tx: optax.GradientTransformation


def make_problem(task: Task, config: Config) -> Problem:
    """Builds the net of a task, then loads its data and prepares them.

    Raises:
        ValueError: before it loads data, if a setting is out of range, the net cannot be written
            to a file, or the environment asks for a backend that is not there.
    """
    net = task.make_net(check(config))
    if net.architecture is None:
        raise ValueError(
            f"train: make_net of {task.name} must build a net that can be saved, of gru_jax's "
            "builders with activations given by name, got one that holds a function."
        )
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), task.input_size))
    xs = jax.ShapeDtypeStruct((1, 1, *task.space, task.input_size), np.float32)
    choices = gj.explain_backend(net, params, xs, key=jax.random.key(0))
    recurrence = "; ".join(dict.fromkeys(map(str, choices))) or "none"
    parts = task.load(config)
    statistics = task.statistics(parts.train)
    train, validation = (part._replace(xs=task.prepare(statistics, part.xs)) for part in parts[:2])
    steps, decay = -(-len(train.xs) // config.batch), config.weight_decay
    tx = gj.make_optimizer(config.learning_rate, steps=config.epochs * steps, weight_decay=decay)
    return Problem(task, config, net, recurrence, parts, statistics, train, validation, steps, tx)


def init_progress(problem: Problem) -> gj.Progress:
    """Returns the progress of a training that has not begun."""
    key_params, key_train = jax.random.split(jax.random.key(problem.config.seed))
    params = problem.net.init(key_params, problem.task.input_size)
    return gj.init_progress(gj.init_train_state(key_train, params, problem.tx))


def make_loss(problem: Problem) -> Any:
    """Builds `(params, batch, key) -> (loss, metrics)`, means over the valid rows of a batch."""
    task, config, net = problem[:3]

    def loss_fn(params: Params, batch: gj.Batch, key: Key) -> tuple[Array, Metrics]:
        ys = task.apply(net, params, batch.xs, batch.lengths, key)
        metrics = task.metrics(ys, batch.targets)
        losses = task.loss(config, ys, batch.targets)
        means = {k: gj.masked_mean(v, batch.valid) for k, v in metrics.items() if k != "loss"}
        return gj.masked_mean(losses, batch.valid), means

    return loss_fn


def make_loop(problem: Problem) -> TrainStep:
    """Builds the compiled training loop."""
    return gj.make_train_loop(gj.make_train_step(make_loss(problem), problem.tx))


def train(
    problem: Problem, loop: TrainStep, progress: gj.Progress, **hooks: Any
) -> tuple[gj.Progress, str]:
    """Trains to the last epoch, or until patience or a hook of `fit` ends it."""
    task, config = problem.task, problem.config

    def validate(params: Params) -> Row:
        ys = outputs(task, problem.net, params, problem.validation.xs)
        return evaluate(task, ys, problem.validation.targets)

    def batches(epoch: int) -> Iterator[gj.Batch]:
        train = problem.train
        if task.draw:
            train = task.draw(config, epoch)
            train = train._replace(xs=task.prepare(problem.statistics, train.xs))
        return gj.make_batches(train, config.batch, seed=config.seed, epoch=epoch)

    return gj.fit(
        progress,
        loop,
        batches,
        validate,
        epochs=config.epochs,
        monitor=task.monitor,
        mode=task.mode,
        patience=config.patience,
        **hooks,
    )


def outputs(
    task: Task, net: gj.Layer, params: Params, xs: Sequence[np.ndarray]
) -> Float[Array, "cases ..."]:
    """Returns the net's outputs for prepared sequences, one row each, in evaluation."""
    return _apply(task.apply, net, params, *gj.pad(xs), None)


_apply = jax.jit(lambda apply, *args: apply(*args), static_argnums=(0, 1))


def evaluate(task: Task, ys: Array, targets: np.ndarray) -> Row:
    """Returns the means of the task's metrics."""
    metrics = task.metrics(ys, targets)
    return {name: float(np.asarray(values, float).mean()) for name, values in metrics.items()}
