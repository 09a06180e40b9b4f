"""Which class is a sequence of?

standardise -> noise -> [bidirectional GRU -> dropout]* -> pool over time -> dropout -> dense
"""

import dataclasses
import math
from typing import Annotated, Literal

import jax
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax.app.tasks.config import FREE, Config, Range
from gru_jax.app.tasks.task import Facts, Mean, Parts, weigh


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(Config):
    """The net."""

    hidden: Annotated[int, Range(1, 10**5)] = 64
    """Features of the state, in each direction."""
    layers: Annotated[int, Range(1, 100)] = 3
    """Bidirectional GRU layers."""
    reset: Literal["before", "after"] = "before"
    """Whether the reset gate acts before or after the product with the state; PyTorch's and Keras's
    weights need after."""
    noise: Annotated[float, Range(0, math.inf), FREE] = 0.8
    """Standard deviation of the noise on the standardised inputs, in training."""
    dropout: Annotated[float, Range(0, 1), FREE] = 0.5
    """Share of features dropped between layers and before the head, in training."""
    label_smoothing: Annotated[float, Range(0, 1), FREE] = 0.1
    """Share of each label's weight that is spread over all classes."""
    validation: Annotated[float, Range(0, 1)] = 0.1
    """Share of each class's training sequences kept for validation."""


def keep_for_validation(config: ClassifierConfig, dataset: gj.Dataset) -> list[gj.Dataset]:
    """Returns the part to train on, and the one to validate with.

    Raises:
        ValueError: if one of them is empty.
    """
    train, validation = gj.split(dataset, config.validation, seed=config.seed)
    if not train.xs or not validation.xs:
        raise ValueError(
            "train: validation must leave sequences on both sides, got "
            f"{config.validation}: {len(train.xs)} to train on, {len(validation.xs)} to validate."
        )
    return [train, validation]


def measure(train: gj.Dataset) -> Facts:
    """Returns mean and standard deviation of each channel over all steps."""
    steps = np.concatenate(train.xs)
    return {"mean": steps.mean(0).tolist(), "std": steps.std(0).tolist()}


def check_facts(facts: Facts) -> Facts:
    """Returns the facts; raises ValueError if they do not describe channels and classes."""
    numbers = np.array([facts["mean"], facts["std"]], np.float32)
    fits = numbers.shape == (2, len(facts["channels"]))
    if not fits or not np.isfinite(numbers).all() or numbers[1].min() <= 0:
        raise ValueError(
            f"its facts must have {len(facts['channels'])} finite means and deviations above 0"
        )
    if not all(isinstance(name, str) for name in (*facts["channels"], *facts["classes"])):
        raise ValueError("its facts must have texts for channels and classes")
    return facts


def standardise(facts: Facts, dataset: gj.Dataset) -> gj.Dataset:
    """Returns the sequences in standard deviations from the mean, channel by channel."""
    mean, std = np.float32(facts["mean"]), np.float32(facts["std"])
    return dataset._replace(xs=[(np.asarray(x, np.float32) - mean) / std for x in dataset.xs])


def make_net(config: ClassifierConfig, facts: Facts) -> gj.Layer:
    """Builds the net: standardised sequences in, one logit a class out."""
    cell = gj.gru(config.hidden, reset=config.reset)
    layers = [gj.bidirectional(cell), gj.dropout(config.dropout)] * config.layers
    head = [gj.pool("mean"), gj.dropout(config.dropout), gj.dense(len(facts["classes"]))]
    return gj.stack(gj.gaussian_noise(config.noise), *layers[:-1], *head)


def loss(config: ClassifierConfig, _: Facts, logits: Array, batch: gj.Batch) -> Mean:
    """Returns the smoothed cross entropy in nats."""
    smoothing = config.label_smoothing
    losses = gj.cross_entropy(logits, batch.targets, label_smoothing=smoothing)
    return weigh(losses, batch.valid)


def metrics(_: Facts, logits: Array, batch: gj.Batch) -> dict[str, Mean]:
    """Returns the cross entropy in nats, not smoothed, and the accuracy."""
    values = {
        "loss": gj.cross_entropy(logits, batch.targets),
        "accuracy": gj.accuracy(logits, batch.targets),
    }
    return {name: weigh(each, batch.valid) for name, each in values.items()}


def predict(_: Facts, logits: Array, __: gj.Batch) -> Array:
    """Returns the probabilities of the classes."""
    return jax.nn.softmax(logits)


def describe_net(
    config: ClassifierConfig, parts: Parts, sample: str, channels: int
) -> dict[str, str]:
    """Returns the data and the model in words."""
    sizes = ", ".join(f"{len(part.xs)} {name}" for name, part in parts._asdict().items())
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    return {
        "data": f"{sizes} {sample}s of {channels} channels",
        "model": f"bidirectional GRU, {layers} of 2 x {config.hidden}, mean pooling, dense",
    }
