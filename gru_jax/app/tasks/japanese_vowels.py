"""JapaneseVowels: who of nine speakers says /ae/? The default problem, and a task to classifier."""

from pathlib import Path

import numpy as np

import gru_jax as gj
from gru_jax.app.tasks import classifier
from gru_jax.app.tasks.classifier import Size
from gru_jax.app.tasks.classifier_config import VowelsConfig
from gru_jax.app.tasks.task import Facts, Goal, Input, Parts, Published, Task

CHANNELS, SPEAKERS = 12, 9
PUBLISHED = (
    Published("FCN", 0.993, "Fawaz et al. 2019"),
    Published("ResNet", 0.992, "Fawaz et al. 2019"),
    Published("KSigPDE", 0.986, "Toth et al. 2023"),
    Published("MLP", 0.976, "Fawaz et al. 2019"),
    Published("Encoder", 0.976, "Fawaz et al. 2019"),
    Published("TWIESN", 0.965, "Fawaz et al. 2019"),
    Published("Time-CNN", 0.956, "Fawaz et al. 2019"),
)


def load(config: VowelsConfig) -> Parts:
    """Returns the data, with a validation part split off the training set."""
    everything, test = gj.load_japanese_vowels()
    train, validation = classifier.keep_for_validation(config, everything)
    return Parts(train, validation, test)


def learn(_: VowelsConfig, parts: Parts) -> Facts:
    """Returns the statistics of the channels, and the names of channels and speakers."""
    return {
        "channels": [f"LPC {i + 1}" for i in range(CHANNELS)],
        "classes": [str(i + 1) for i in range(SPEAKERS)],
        **classifier.measure(parts.train),
    }


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    return Goal(
        title="JapaneseVowels",
        monitor="accuracy",  # The loss of two dozen utterances hangs on the worst understood one.
        mode="max",
        units={"loss": "nats", "accuracy": "fraction"},
        classes=tuple(classifier.check_facts(facts)["classes"]),
        sample="utterance",
        target="speaker",
        published=PUBLISHED,
    )


def read(_: VowelsConfig, facts: Facts, path: Path) -> Input:
    """Returns the utterances of a user's file, without their speakers."""
    sequences = gj.read_sequences(path, len(facts["channels"]))
    xs = list(sequences.values())
    return Input(list(sequences), gj.Dataset(xs, np.zeros(len(xs), np.int32)), known=False)


def describe(config: VowelsConfig, _: Facts, parts: Parts) -> dict[str, str]:
    """Returns the task, the data and the model in words."""
    return {
        "task": f"JapaneseVowels: which of {SPEAKERS} speakers?",
        **classifier.describe_net(Size(config.hidden, config.layers), parts, "utterance", CHANNELS),
    }


def make_net(config: VowelsConfig, facts: Facts) -> gj.Layer:
    """Builds the net: standardised utterances in, one logit a speaker out."""
    size = Size(config.hidden, config.layers)
    return classifier.make_net(config, size, len(facts["classes"]))


JAPANESE_VOWELS = Task(
    name="japanese_vowels",
    Config=VowelsConfig,
    load=load,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: len(facts["channels"]),
    loss=classifier.loss,
    metrics=classifier.metrics,
    predict=classifier.predict,
    describe=describe,
    read=read,
    prepare=classifier.standardise,
)
