"""A task made ready: its data are loaded, learned from and prepared once, its net is built once.

make_problem(task, config) -> Problem
train(problem, make_loop(problem), init_progress(problem)) -> Progress
measure, answer(trained, prepared data) -> means of the metrics, answers
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array

import gru_jax as gj
from gru_jax import Key, Metrics, Params, Row, TrainStep
from gru_jax.app.tasks.config import Config, check
from gru_jax.app.tasks.task import Facts, Goal, Mean, Parts, Task


class Trained(NamedTuple):
    """A task with its settings, what it learned of the data, and its net with parameters."""

    task: Task
    config: Config
    facts: Facts
    net: gj.Layer
    params: Params

    @property
    def goal(self) -> Goal:
        """What the task measures, in words."""
        return self.task.goal(self.facts)


class Problem(NamedTuple):
    """A task with its settings, its net and its data; `train` and `validation` are prepared."""

    task: Task
    config: Config
    facts: Facts
    net: gj.Layer
    goal: Goal
    recurrence: str
    """The code that runs the net's recurrences in training."""
    parts: Parts
    train: Any
    validation: Any
    steps: int
    """Batches in one pass over the training data."""
    tx: optax.GradientTransformation

    def with_params(self, params: Params) -> Trained:
        """Returns the trained task."""
        return Trained(self.task, self.config, self.facts, self.net, params)


def make_problem(task: Task, config: Config) -> Problem:
    """Loads the data of a task, learns from them, builds the net, and prepares the data.

    Raises:
        ValueError: if a setting is out of range, a file is not what it must be, the net cannot be
            written to a file, or the environment asks for a backend that is not there.
    """
    check(config)
    # A backend that is not there is refused before large files are read.
    one = gj.recurrent(gj.gru(1))
    gj.explain_backend(one, one.init(jax.random.key(0), 1), np.zeros((1, 1, 1), np.float32))
    parts = task.load(config)
    facts = task.learn(config, parts)
    net = task.make_net(config, facts)
    if net.architecture is None:
        raise ValueError(
            f"train: make_net of {task.name} must build a net that can be saved, of gru_jax's "
            "builders with activations given by name, got one that holds a function."
        )
    train, validation = (task.prepare(facts, part) for part in parts[:2])
    batch = next(unstack(task.batches(config, validation, None)))
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), task.input_size(facts)))
    choices = gj.explain_backend(net, params, batch.xs, key=jax.random.key(0))
    recurrence = "; ".join(dict.fromkeys(map(str, choices))) or "none"
    steps = task.steps(config, train)
    tx, goal = task.optimizer(config, config.epochs * steps), task.goal(facts)
    return Problem(task, config, facts, net, goal, recurrence, parts, train, validation, steps, tx)


def init_progress(problem: Problem, params: Params | None = None) -> gj.Progress:
    """Returns the progress of a training that has not begun.

    Args:
        problem: what is to be trained.
        params: to begin with; None initialises them.
    """
    task, config, facts, net = problem[:4]
    key_params, key_train = jax.random.split(jax.random.key(config.seed))
    if params is None:
        params = net.init(key_params, task.input_size(facts))
    if task.training:
        training = task.training(config, facts, net, problem.tx)
        return gj.init_progress(training.start(key_train, params))
    carry = task.carry(net, params, config.batch)
    return gj.init_progress(gj.init_train_state(key_train, params, problem.tx, carry))


def make_loss(problem: Problem) -> Any:
    """Builds `(params, carry, batch, key) -> (loss, (metrics, carry))`, means over a batch."""
    task, config, facts, net = problem[:4]

    def loss_fn(
        params: Params, carry: Any, batch: Any, key: Key
    ) -> tuple[Array, tuple[Metrics, Any]]:
        ys, carry = task.apply(net, params, batch, carry, key)
        metrics = task.metrics(facts, ys, batch)
        means = {name: _divide(mean) for name, mean in metrics.items() if name != "loss"}
        return _divide(task.loss(config, facts, ys, batch)), (means, carry)

    return loss_fn


def make_step(problem: Problem) -> TrainStep:
    """Builds the training step: down the gradient of the loss, or the task's own."""
    task, config, facts, net = problem[:4]
    if task.training:
        return task.training(config, facts, net, problem.tx).step
    return gj.make_truncated_step(make_loss(problem), problem.tx)


def make_loop(problem: Problem) -> TrainStep:
    """Builds the compiled training loop."""
    return gj.make_train_loop(make_step(problem))


def train(
    problem: Problem, loop: TrainStep, progress: gj.Progress, **hooks: Any
) -> tuple[gj.Progress, str]:
    """Trains to the last epoch, or until patience or a hook of `fit` ends it."""
    task, config = problem.task, problem.config

    def batches(epoch: int) -> Iterator[Any]:
        return task.batches(config, problem.train, epoch)

    def validate(params: Params) -> Row:
        return measure(problem.with_params(params), problem.validation)

    return gj.fit(
        progress,
        loop,
        batches,
        validate,
        epochs=config.epochs,
        monitor=problem.goal.monitor,
        mode=problem.goal.mode,
        patience=config.patience,
        **hooks,
    )


def run(trained: Trained, prepared: Any) -> Iterator[tuple[Any, Array]]:
    """Yields the batches of prepared data, in order, and the net's outputs for them."""
    task, config, _, net, params = trained
    carry = None
    for batch in unstack(task.batches(config, prepared, None)):
        carry = task.carry(net, params, len(batch.valid)) if carry is None else carry
        ys, carry = _apply(task.apply, net, params, batch, carry, None)
        yield batch, ys


_apply = jax.jit(lambda apply, *args: apply(*args), static_argnums=(0, 1))


def measure(trained: Trained, prepared: Any) -> Row:
    """Returns the means of the task's metrics on prepared data."""
    if trained.task.measure:
        return trained.task.measure(trained, prepared)
    sums: dict[str, np.ndarray] = {}
    for batch, ys in run(trained, prepared):
        for name, mean in trained.task.metrics(trained.facts, ys, batch).items():
            # Summed in float64 over the batches.
            both = np.array([np.asarray(each, float).sum() for each in mean])
            sums[name] = sums.get(name, 0) + both
    return {name: float(total / weight) for name, (total, weight) in sums.items()}


def answer(trained: Trained, prepared: Any) -> np.ndarray:
    """Returns the task's answers for prepared data, one row a sequence.

    A row holds the probability of each class or, of a task without classes, its values.
    """
    answers = (
        np.asarray(trained.task.predict(trained.facts, ys, batch))[np.asarray(batch.valid)]
        for batch, ys in run(trained, prepared)
    )
    return np.concatenate(list(answers))


def _divide(mean: Mean) -> Array:
    """Returns the mean, zero of nothing."""
    total, weight = mean.total.sum(), mean.weight.sum().astype(mean.total.dtype)
    return total / jax.numpy.where(weight == 0, 1, weight)


def unstack(stacks: Iterator[Any]) -> Iterator[Any]:
    """Yields the batches of stacks `[steps, batch, ...]`."""
    for stack in stacks:
        for step in range(len(jax.tree.leaves(stack)[0])):
            yield jax.tree.map(lambda a, step=step: a[step], stack)
