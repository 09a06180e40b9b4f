"""JapaneseVowels: who of nine speakers says /ae/?

standardise -> noise -> [bidirectional GRU -> dropout]* -> pool over time -> dropout -> dense
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated

import jax
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax.app.tasks.task import Config, Parts, Published, Range, Statistics, Task

CHANNELS, SPEAKERS = 12, 9


@dataclasses.dataclass(frozen=True)
class VowelsConfig(Config):
    """Settings of a run; the defaults were chosen on parts of the training set alone."""

    hidden: Annotated[int, Range(1, 10**5)] = 64
    """Features of the state, in each direction."""
    layers: Annotated[int, Range(1, 100)] = 3
    """Bidirectional GRU layers."""
    noise: Annotated[float, Range(0, math.inf)] = 0.8
    """Standard deviation of the noise on the standardised inputs, in training."""
    dropout: Annotated[float, Range(0, 1)] = 0.5
    """Share of features dropped between layers and before the head, in training."""
    label_smoothing: Annotated[float, Range(0, 1)] = 0.1
    """Share of each label's weight that is spread over all speakers."""
    validation: Annotated[float, Range(0, 1)] = 0.1
    """Share of each speaker's training utterances kept for validation."""


def load(config: VowelsConfig) -> Parts:
    """Returns the data, with a validation part split off the training set."""
    everything, test = gj.load_japanese_vowels()
    train, validation = gj.split(everything, config.validation, seed=config.seed)
    if not train.xs or not validation.xs:
        raise ValueError(
            "train: validation must leave utterances on both sides, got "
            f"{config.validation}: {len(train.xs)} to train on, {len(validation.xs)} to validate."
        )
    return Parts(train, validation, test)


def measure(train: gj.Dataset) -> Statistics:
    """Returns mean and standard deviation of each channel over all steps."""
    steps = np.concatenate(train.xs)
    return {"mean": steps.mean(0).tolist(), "std": steps.std(0).tolist()}


def standardise(statistics: Statistics, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the sequences in standard deviations from the mean, channel by channel."""
    numbers = np.array([statistics["mean"], statistics["std"]], np.float32)
    mean, std = numbers
    if numbers.shape != (2, CHANNELS) or not np.isfinite(numbers).all() or std.min() <= 0:
        raise ValueError(f"statistics must be {CHANNELS} finite means and deviations above 0")
    return [(np.asarray(x, np.float32) - mean) / std for x in xs]


def make_net(config: VowelsConfig) -> gj.Layer:
    """Builds the net: standardised utterances in, one logit a speaker out."""
    layers = [gj.bidirectional(gj.gru(config.hidden)), gj.dropout(config.dropout)] * config.layers
    head = [gj.pool("mean"), gj.dropout(config.dropout), gj.dense(SPEAKERS)]
    return gj.stack(gj.gaussian_noise(config.noise), *layers[:-1], *head)


def loss(config: VowelsConfig, logits: Array, speakers: Array) -> Array:
    """Returns the smoothed cross entropy in nats."""
    return gj.cross_entropy(logits, speakers, label_smoothing=config.label_smoothing)


def metrics(logits: Array, speakers: Array) -> dict[str, Array]:
    """Returns the cross entropy in nats, not smoothed, and the accuracy."""
    return {"loss": gj.cross_entropy(logits, speakers), "accuracy": gj.accuracy(logits, speakers)}


def describe(config: VowelsConfig, parts: Parts) -> dict[str, str]:
    """Returns the task, the data and the model in words."""
    sizes = ", ".join(f"{len(part.xs)} {name}" for name, part in parts._asdict().items())
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    return {
        "task": f"JapaneseVowels: which of {SPEAKERS} speakers?",
        "data": f"{sizes} utterances of {CHANNELS} channels",
        "model": f"bidirectional GRU, {layers} of 2 x {config.hidden}, mean pooling, dense",
    }


JAPANESE_VOWELS = Task(
    name="japanese_vowels",
    title="JapaneseVowels",
    Config=VowelsConfig,
    input_size=CHANNELS,
    load=load,
    make_net=make_net,
    loss=loss,
    metrics=metrics,
    predict=jax.nn.softmax,
    describe=describe,
    monitor="accuracy",  # The loss of two dozen utterances hangs on the one worst understood.
    mode="max",
    statistics=measure,
    prepare=standardise,
    classes=tuple(str(speaker + 1) for speaker in range(SPEAKERS)),
    units={"loss": "nats", "accuracy": "fraction"},
    sample="utterance",
    target="speaker",
    published=(
        Published("FCN", 0.993, "Fawaz et al. 2019"),
        Published("ResNet", 0.992, "Fawaz et al. 2019"),
        Published("KSigPDE", 0.986, "Toth et al. 2023"),
        Published("MLP", 0.976, "Fawaz et al. 2019"),
        Published("Encoder", 0.976, "Fawaz et al. 2019"),
        Published("TWIESN", 0.965, "Fawaz et al. 2019"),
        Published("Time-CNN", 0.956, "Fawaz et al. 2019"),
    ),
)
