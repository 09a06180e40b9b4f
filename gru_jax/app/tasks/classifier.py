"""The net of classify and JapaneseVowels: which class is a sequence of?

standardise -> noise -> [bidirectional GRU -> dropout]* -> pool over time -> dropout -> dense
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax.app.tasks.classifier_config import ClassifierConfig
from gru_jax.app.tasks.task import Facts, Mean, Parts, weigh


class Size(NamedTuple):
    """Features of the state in each direction, and layers."""

    hidden: int
    layers: int


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


def make_net(config: ClassifierConfig, size: Size, outputs: int) -> gj.Layer:
    """Builds the net: standardised sequences in, one number for each output out."""
    cell = gj.gru(size.hidden, reset=config.reset)
    layers = [gj.bidirectional(cell), gj.dropout(config.dropout)] * size.layers
    head = [gj.pool("mean"), gj.dropout(config.dropout), gj.dense(outputs)]
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


def describe_net(size: Size, parts: Parts, sample: str, channels: int) -> dict[str, str]:
    """Returns the data and the model in words."""
    sizes = ", ".join(f"{len(part.xs)} {name}" for name, part in parts._asdict().items())
    layers = "1 layer" if size.layers == 1 else f"{size.layers} layers"
    return {
        "data": f"{sizes} {sample}s of {channels} channel{'s' * (channels > 1)}",
        "model": f"bidirectional GRU, {layers} of 2 x {size.hidden}, mean pooling, dense",
    }
