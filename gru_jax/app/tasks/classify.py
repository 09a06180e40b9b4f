"""Which class is a sequence of, or which number goes with it? On a user's own file.

standardise, mask -> noise -> [bidirectional GRU -> dropout]* -> mean over time -> dropout -> dense
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax import Row
from gru_jax.app.tasks import classifier, labelled
from gru_jax.app.tasks.classifier import Size
from gru_jax.app.tasks.classifier_config import ClassifyConfig
from gru_jax.app.tasks.labelled import Cases
from gru_jax.app.tasks.task import (
    Facts,
    Goal,
    Mean,
    Parts,
    Task,
    count_steps,
    make_batches,
    weigh,
)

SIZES = {"small": Size(32, 1), "medium": Size(64, 2), "large": Size(128, 3)}
LEAST = 160
"""Sequences in an epoch, at least: fewer are passed several times, each in another order."""
SHOWN = 12
"""Names that are printed."""


def learn(config: ClassifyConfig, parts: Parts) -> Facts:
    """Returns the statistics of the training part, and all names."""
    return labelled.learn(config, parts)


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    check_facts(facts)
    words: dict[str, Any] = {"title": facts["title"], "inputs": name_inputs(facts)}
    if facts["classes"]:
        # The loss of few cases hangs on the worst understood one; of ties, the newest is taken.
        return Goal(
            monitor="accuracy",
            mode="max",
            units={
                "loss": "nats",
                **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), "fraction"),
            },
            classes=tuple(facts["classes"]),
            also=("balanced_accuracy", "macro_f1"),
            **words,
        )
    return Goal(
        units={"loss": "variances of the training labels", "mse": "squared", "mae": "label's unit"},
        target="number",
        also=("rmse", "mae"),
        **words,
    )


def check_facts(facts: Facts) -> None:
    """Raises ValueError if facts from a file do not describe such data."""
    classifier.check_facts(facts)
    if not isinstance(facts["title"], str) or not set(facts["masked"]) <= set(facts["channels"]):
        raise ValueError("its facts must have a title, and masks of its channels alone")
    numbers = np.array(facts["counts"] if facts["classes"] else facts["target"], float)
    fits = numbers.shape == (len(facts["classes"]) or 2,) and np.isfinite(numbers).all()
    if not fits or (numbers[1] <= 0 if not facts["classes"] else numbers.min() < 0):
        raise ValueError("its facts must have the cases of each class, or mean and deviation")


def name_inputs(facts: Facts) -> tuple[str, ...]:
    """Returns the names of the net's inputs: the channels, and the masks of some."""
    return (*facts["channels"], *(f"{name} observed" for name in facts["masked"]))


def size_of(config: ClassifyConfig) -> Size:
    """Returns the size of the net."""
    hidden, layers = SIZES[config.model]
    return Size(config.hidden or hidden, config.layers or layers)


def make_net(config: ClassifyConfig, facts: Facts) -> gj.Layer:
    """Builds the net: prepared sequences in, one logit a class or one number out."""
    return classifier.make_net(config, size_of(config), len(facts["classes"]) or 1)


def batches(config: ClassifyConfig, data: gj.Dataset, epoch: int | None) -> Iterator[gj.Batch]:
    """Yields stacks of batches of `LEAST` sequences or more, or of the data, for evaluation."""
    if epoch is None:
        yield from make_batches(config, data, None)
        return
    passes = count_passes(data)
    for number in range(epoch * passes, (epoch + 1) * passes):
        yield from make_batches(config, data, number)


def count_passes(data: gj.Dataset) -> int:
    """Returns the passes over the data in an epoch."""
    return math.ceil(LEAST / len(data.xs))


def loss(config: ClassifyConfig, facts: Facts, outputs: Array, batch: gj.Batch) -> Mean:
    """Returns the smoothed cross entropy in nats, or the squared error in standard deviations.

    With balanced classes it is a weighted mean; the weight of a case is inverse to the number of
    training cases in its class.
    """
    if not facts["classes"]:
        return _errors(outputs, batch)
    mean = classifier.loss(config, facts, outputs, batch)
    if config.class_weights == "none":
        return mean
    counts = jnp.maximum(jnp.asarray(facts["counts"], mean.total.dtype), 1)
    weights = (counts.sum() / (len(counts) * counts))[batch.targets]
    return Mean(mean.total * weights, mean.weight * weights)


def metrics(facts: Facts, outputs: Array, batch: gj.Batch) -> dict[str, Mean]:
    """Returns loss and accuracy; without classes, the loss, and errors in the label's units."""
    if facts["classes"]:
        return classifier.metrics(facts, outputs, batch)
    _, spread = facts["target"]
    squares = _errors(outputs, batch)
    errors = weigh(abs(outputs[:, 0] - batch.targets) * spread, batch.valid)
    return {
        "loss": squares,
        "mse": squares._replace(total=squares.total * spread**2),
        "mae": errors,
    }


def _errors(outputs: Array, batch: gj.Batch) -> Mean:
    return weigh(gj.squared_error(outputs[:, 0], batch.targets), batch.valid)


def predict(facts: Facts, outputs: Array, _: gj.Batch) -> Array:
    """Returns the probabilities of the classes, or numbers in the label's units."""
    if facts["classes"]:
        return jax.nn.softmax(outputs)
    middle, spread = facts["target"]
    return outputs * spread + middle


def baselines(_: ClassifyConfig, facts: Facts, test: Cases) -> dict[str, Row]:
    """Returns the metrics of the training part's most frequent class, or of its mean."""
    if not facts["classes"]:
        middle, spread = facts["target"]
        mse = float(np.mean((test.targets - middle) ** 2))
        mae = float(np.mean(abs(test.targets - middle)))
        row = {"loss": mse / spread**2, "mse": mse, "mae": mae, "rmse": mse**0.5}
        return {"training_mean": row}
    hits = test.targets == int(np.argmax(facts["counts"]))
    return {"most_frequent_class": {"accuracy": float(hits.mean())}}


def derive(result: Row) -> Row:
    """Returns the numbers that follow from the confusion matrix, or from the squared error."""
    if "confusion_matrix" not in result:
        return {"test_rmse": result["test_mse"] ** 0.5}
    counts = np.array(result["confusion_matrix"])
    right, cases, answers = counts.diagonal(), counts.sum(1), counts.sum(0)
    there = cases + answers > 0
    recall, f1 = right[cases > 0] / cases[cases > 0], 2 * right[there] / (cases + answers)[there]
    return {"test_balanced_accuracy": float(recall.mean()), "test_macro_f1": float(f1.mean())}


def describe(config: ClassifyConfig, facts: Facts, parts: Parts) -> dict[str, str]:
    """Returns the task, the data and the model in words."""
    title, classes, channels = facts["title"], facts["classes"], facts["channels"]
    texts = {
        "task": f"{title}: which of {len(classes)} classes?" if classes else f"{title}: a number",
        **classifier.describe_net(size_of(config), parts, "sequence", len(channels)),
    }
    model = texts.pop("model")
    if classes:
        counts = [f"{n} {name}" for name, n in zip(classes, facts["counts"], strict=True)]
        texts["classes"] = f"{_list(counts)} in training"
    if config.test is None:
        of = "of each class" if classes else "of the cases"
        texts["test"] = f"{config.test_share:.0%} {of}, drawn by seed {config.seed}"
    gaps = [np.concatenate([np.isnan(x) for x in part.xs]) for part in parts]
    missing = np.concatenate(gaps)
    if missing.any():
        names = labelled.choose(channels, missing.any(0))
        masks = f"a mask each for {_list(facts['masked'])}" if facts["masked"] else "no masks"
        share = f"{missing.sum():,} of {missing.size:,} values"
        texts["missing"] = f"{share}, in {_list(names)}; {masks}"
    if constant := labelled.find_constant(parts.train):
        texts["constant"] = f"{_list(constant)} in training: taken as 0"
    return texts | {"model": model}


def _list(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)


CLASSIFY = Task(
    name="classify",
    Config=ClassifyConfig,
    load=labelled.load,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: len(name_inputs(facts)),
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=labelled.read,
    prepare=labelled.prepare,
    batches=batches,
    steps=lambda config, data: count_passes(data) * count_steps(config, data),
    baselines=baselines,
    derive=derive,
)
