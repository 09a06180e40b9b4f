"""The default problem: who of nine speakers says /ae/?

standardise -> noise -> [bidirectional GRU -> dropout]* -> pool over time -> dropout -> dense
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float

from gru_jax.cells.gru import gru
from gru_jax.data.batching import Batch, Dataset, make_batches, pad, split
from gru_jax.data.japanese_vowels import CHANNELS, SPEAKERS, load_japanese_vowels
from gru_jax.layers.combine import stack
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import dense, dropout, gaussian_noise
from gru_jax.layers.pooling import pool
from gru_jax.layers.recurrent import bidirectional
from gru_jax.sequence.backends import Choice
from gru_jax.sequence.unroll import explain_backend
from gru_jax.training.fit import Progress, Row, init_progress
from gru_jax.training.loop import make_train_loop
from gru_jax.training.losses import cross_entropy, masked_mean
from gru_jax.training.metrics import accuracy
from gru_jax.training.optimizer import make_optimizer
from gru_jax.training.step import LossFn, Metrics, TrainStep, init_train_state, make_train_step
from gru_jax.types import Key, Params

NAME = "japanese_vowels"
MONITOR = "error"
"""What tells the best epoch: the loss of two dozen utterances hangs on the one worst understood."""
CLASSES = tuple(str(speaker + 1) for speaker in range(SPEAKERS))
PUBLISHED = (
    ("FCN", 0.993, "Fawaz et al. 2019"),
    ("ResNet", 0.992, "Fawaz et al. 2019"),
    ("KSigPDE", 0.986, "Toth et al. 2023"),
    ("MLP", 0.976, "Fawaz et al. 2019"),
    ("Encoder", 0.976, "Fawaz et al. 2019"),
    ("TWIESN", 0.965, "Fawaz et al. 2019"),
    ("Time-CNN", 0.956, "Fawaz et al. 2019"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """All that decides a run; the defaults were chosen on parts of the training set alone."""

    seed: int = 0
    """Of the split, the parameters, the order of the data, noise and dropout."""
    epochs: int = 60
    """Passes over the training data."""
    hidden: int = 64
    """Features of the state, in each direction."""
    layers: int = 3
    """Bidirectional GRU layers."""
    learning_rate: float = 3e-3
    """At the end of the warm-up; it then falls to zero along a cosine."""
    batch: int = 32
    """Utterances in a batch."""
    noise: float = 0.8
    """Standard deviation of the noise on the standardised inputs, in training."""
    dropout: float = 0.5
    """Share of features dropped between layers and before the head, in training."""
    label_smoothing: float = 0.1
    """Share of each label's weight that is spread over all speakers."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of AdamW."""
    validation: float = 0.1
    """Share of each speaker's training utterances kept for validation."""
    patience: int = 30
    """Epochs without a validation error as low after which training stops."""


RANGES = {
    "seed": (0, 2**32),
    "epochs": (1, 10**6),
    "hidden": (1, 10**5),
    "layers": (1, 100),
    "learning_rate": (0, math.inf),
    "batch": (1, 10**5),
    "noise": (0, math.inf),
    "dropout": (0, 1),
    "label_smoothing": (0, 1),
    "weight_decay": (0, math.inf),
    "validation": (0, 1),
    "patience": (1, 10**6),
}
"""The least value of each setting, and the one it stays below."""


def check(config: Config) -> Config:
    """Returns the settings; raises ValueError where one is of another type or out of its range."""
    for field in dataclasses.fields(config):
        value, (least, below) = getattr(config, field.name), RANGES[field.name]
        whole = field.type is int
        if type(value) not in ((int,) if whole else (int, float)) or not least <= value < below:
            needed = f"a {'whole ' if whole else ''}number from {least} to below {below}"
            raise ValueError(f"train: {field.name} must be {needed}, got {value!r}.")
    return config


class Scale(NamedTuple):
    """Mean and standard deviation of each channel over the steps of the training part."""

    mean: Sequence[float]
    std: Sequence[float]


class Problem(NamedTuple):
    """The three parts of the data, standardised, and the scale that did it."""

    train: Dataset
    validation: Dataset
    test: Dataset
    scale: Scale


def load_problem(config: Config) -> Problem:
    """Returns the data, with a validation part split off train."""
    everything, test = load_japanese_vowels()
    train, validation = split(everything, config.validation, seed=config.seed)
    if not train.xs or not validation.xs:
        raise ValueError(
            "train: validation must leave utterances on both sides, got "
            f"{config.validation}: {len(train.xs)} to train on, {len(validation.xs)} to validate."
        )
    return make_problem(train, validation, test)


def make_problem(train: Dataset, validation: Dataset, test: Dataset) -> Problem:
    """Returns the parts on the scale of the training part."""
    steps = np.concatenate(train.xs)
    scale = Scale(steps.mean(0).tolist(), steps.std(0).tolist())
    train, validation, test = (
        part._replace(xs=standardise(part.xs, scale)) for part in (train, validation, test)
    )
    return Problem(train, validation, test, scale)


def standardise(xs: Sequence[np.ndarray], scale: Scale) -> list[np.ndarray]:
    """Returns the sequences with each channel's mean taken off, in standard deviations."""
    mean, std = np.asarray(scale.mean, np.float32), np.asarray(scale.std, np.float32)
    return [(np.asarray(x, np.float32) - mean) / std for x in xs]


def network(config: Config) -> Layer:
    """Builds the network: inputs are standardised utterances, outputs one logit a speaker."""
    return stack(*layers(config))


def layers(config: Config) -> list[Layer]:
    """Builds the layers of the network, first to last."""
    recurrent = [bidirectional(gru(config.hidden)), dropout(config.dropout)] * config.layers
    head = [pool("mean"), dropout(config.dropout), dense(SPEAKERS)]
    return [gaussian_noise(config.noise), *recurrent[:-1], *head]


def recurrence(config: Config) -> Choice:
    """Returns which code runs the network's GRUs, by the environment and what there is.

    Raises:
        ValueError: if the environment asks for what there is not.
    """
    cell = gru(config.hidden)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), CHANNELS))
    xs = jax.ShapeDtypeStruct((1, 1, CHANNELS), np.float32)
    return explain_backend(cell, params, xs)


def init_params(config: Config) -> Params:
    """Returns the network's parameters before training."""
    key_params, _ = jax.random.split(jax.random.key(config.seed))
    return network(config).init(key_params, CHANNELS)


def make_loss(config: Config) -> LossFn:
    """Builds `(params, batch, key) -> (loss, metrics)`, the smoothed cross entropy in nats."""
    net = network(config)

    def loss_fn(params: Params, batch: Batch, key: Key) -> tuple[Array, Metrics]:
        logits, _ = net.apply(params, batch.xs, lengths=batch.lengths, key=key)
        losses = cross_entropy(logits, batch.targets, label_smoothing=config.label_smoothing)
        hits = masked_mean(accuracy(logits, batch.targets), batch.valid)
        return masked_mean(losses, batch.valid), {"accuracy": hits}

    return loss_fn


def steps_per_epoch(config: Config, problem: Problem) -> int:
    """Returns the batches in one pass over the training data."""
    return -(-len(problem.train.xs) // config.batch)


def epoch_batches(config: Config, problem: Problem, epoch: int) -> Iterator[Batch]:
    """Yields the training data in the order of this epoch."""
    return make_batches(problem.train, config.batch, seed=config.seed, epoch=epoch)


def make_tx(config: Config, problem: Problem) -> optax.GradientTransformation:
    """Builds the optimiser for the whole run."""
    steps = config.epochs * steps_per_epoch(config, problem)
    return make_optimizer(config.learning_rate, steps=steps, weight_decay=config.weight_decay)


def make_loop(config: Config, problem: Problem) -> TrainStep:
    """Builds the compiled training loop."""
    return make_train_loop(make_train_step(make_loss(config), make_tx(config, problem)))


def begin(config: Config, problem: Problem) -> Progress:
    """Returns the progress of a run that has not begun."""
    _, key_train = jax.random.split(jax.random.key(config.seed))
    state = init_train_state(key_train, init_params(config), make_tx(config, problem))
    return init_progress(state)


def predict(
    config: Config, params: Params, xs: Sequence[np.ndarray]
) -> Float[Array, "cases classes"]:
    """Returns the logits of standardised utterances `[time, 12]`."""
    return _logits(config, params, *pad(xs))


def evaluate(config: Config, params: Params, dataset: Dataset) -> Row:
    """Returns the mean loss in nats (not smoothed), the accuracy, and the error, its complement."""
    logits = predict(config, params, dataset.xs)
    right = float(accuracy(logits, dataset.targets).mean())
    loss = float(cross_entropy(logits, dataset.targets).mean())
    return {"loss": loss, "accuracy": right, "error": 1 - right}


def validate(config: Config, problem: Problem, params: Params) -> Row:
    """Returns what `evaluate` says of the validation part."""
    return evaluate(config, params, problem.validation)


@partial(jax.jit, static_argnames="config")
def _logits(config: Config, params: Params, xs: Array, lengths: Array) -> Array:
    return network(config).apply(params, xs, lengths=lengths)[0]
