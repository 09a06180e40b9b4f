"""A user's labelled sequences: read, parted, measured, and made ready for the net.

    files --load--> train, validation, test --learn--> facts
    facts, x --prepare--> [(x - mean) / std, or 0 where missing | 1 where observed, else 0]

The mask, on the right, has a channel for each channel of x with missing values in training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

import gru_jax as gj
from gru_jax.app.tasks.classifier_config import DataConfig
from gru_jax.app.tasks.task import Facts, Input, Parts

FEWEST = 4
"""Cases that a file to train on must hold."""
SHOWN = 12
"""Names that a message lists."""
LARGEST = 1e18
"""Largest label, as the readers' largest value: its square is a float32."""


class Cases(NamedTuple):
    """Sequences as they are in a file, NaN where a value is missing, with what to predict.

    `targets` are numbers of `classes` or, without classes, float64 in the label's units.
    """

    xs: Sequence[Float[np.ndarray, "_ channels"]]
    targets: Shaped[np.ndarray, " cases"]
    channels: tuple[str, ...]
    classes: tuple[str, ...]


def load(config: DataConfig) -> Parts:
    """Returns the cases of the file, or files, in three parts.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file cannot be trained, or tested, on.
    """
    if config.data is None:
        raise ValueError("train: --data must be a file of sequences and labels, got none.")
    path = Path(config.data)
    labelled = _read(config, path, config.channels or None)
    labels = labelled.labels
    if labels is None:
        raise ValueError(f"{path} must have a label for each case, but has none.")
    if len(labels) < FEWEST:
        raise ValueError(f"{path} must hold {FEWEST} cases or more, got {len(labels)}.")
    if config.regression or gj.labels_are_numbers(labels):
        classes = ()
    elif len(set(labels)) < 2:
        raise ValueError(f"{path} must have labels of two classes or more, got only {labels[0]!r}.")
    else:
        classes = tuple(gj.class_names(labels))
    cases = Cases(labelled.xs, _targets(path, labelled, classes), tuple(labelled.channels), classes)
    if not classes and np.ptp(cases.targets) == 0:
        raise ValueError(f"{path} must have labels that differ, got only {labels[0]!r}.")
    if config.test is None:
        if classes:
            _check_two_of_each(path, cases)
        train, test = part_cases(cases, config.test_share, config.seed)
    else:
        train, test = cases, _read_test(config, Path(config.test), cases)
    train, validation = part_cases(train, config.validation, config.seed)
    for name, part in (("validation", validation), ("test_share", test)):
        if not len(part.xs) or not len(train.xs):
            raise ValueError(
                f"train: {name} must leave cases on both sides, got {getattr(config, name)}: "
                f"{len(train.xs)} to train on and {len(part.xs)} left out."
            )
    return Parts(train, validation, test)


def read(config: DataConfig, facts: Facts, path: Path) -> Input:
    """Returns the cases of a user's file, with their labels where it has any."""
    labelled = _read(config, path, facts["channels"], need_label=False)
    classes, known = tuple(facts["classes"]), labelled.labels is not None
    blank = np.zeros(len(labelled.xs), np.int32 if classes else float)
    targets = _targets(path, labelled, classes) if known else blank
    cases = Cases(labelled.xs, targets, tuple(facts["channels"]), classes)
    return Input(labelled.names, cases, known)


def learn(config: DataConfig, parts: Parts) -> Facts:
    """Returns the statistics of the training part over the observed values, and all names.

    A channel that is constant there has a deviation of 1 in the facts.
    """
    train: Cases = parts.train
    steps = np.concatenate(train.xs).astype(float)
    missing = np.isnan(steps)
    if missing.all(0).any():
        channel = train.channels[int(missing.all(0).argmax())]
        raise ValueError(
            f"train: channel {channel!r} must have a value in the training part, got none; "
            "leave it out with --channels."
        )
    std = np.nanstd(steps, 0)
    constant = find_constant(train)
    facts = {
        "title": Path(str(config.data)).name,
        "channels": list(train.channels),
        "masked": choose(train.channels, missing.any(0)),
        "classes": list(train.classes),
        "mean": np.nanmean(steps, 0).tolist(),
        "std": [
            1.0 if name in constant else float(value)
            for name, value in zip(train.channels, std, strict=True)
        ],
    }
    if train.classes:
        counts = np.bincount(train.targets, minlength=len(train.classes))
        return facts | {"counts": counts.tolist()}
    spread = float(train.targets.std())
    return facts | {"target": [float(train.targets.mean()), spread or 1.0]}


def find_constant(train: Cases) -> list[str]:
    """Returns the channels with one value alone, as far as float32 can tell."""
    steps = np.concatenate(train.xs).astype(float)
    same = np.nanmax(steps, 0) == np.nanmin(steps, 0)
    same |= np.nanstd(steps, 0) < np.finfo(np.float32).tiny
    return choose(train.channels, same)


def choose(names: Sequence[str], marks: Any) -> list[str]:
    """Returns the names with a true mark."""
    return [name for name, mark in zip(names, marks, strict=True) if mark]


def prepare(facts: Facts, cases: Cases) -> gj.Dataset:
    """Returns standardised sequences with zeros for missing values and, behind them, the mask.

    Targets without classes are standardised, too.
    """
    mean, std = np.float32(facts["mean"]), np.float32(facts["std"])
    masked = [facts["channels"].index(name) for name in facts["masked"]]
    xs = []
    for x in cases.xs:
        observed = ~np.isnan(x)
        values = np.where(observed, (x - mean) / std, 0)
        xs.append(np.concatenate([values, observed[:, masked]], 1, dtype=np.float32))
    if facts["classes"]:
        return gj.Dataset(xs, cases.targets)
    middle, spread = facts["target"]
    return gj.Dataset(xs, ((cases.targets - middle) / spread).astype(np.float32))


def _read(
    config: DataConfig, path: Path, channels: Sequence[str] | None, **options: Any
) -> gj.Labelled:
    columns = {"case": config.case, "time": config.time or None, "label": config.label}
    return gj.read_labelled(path, channels=channels, **columns, **options)


def _read_test(config: DataConfig, path: Path, train: Cases) -> Cases:
    labelled = _read(config, path, train.channels)
    if labelled.labels is None:
        raise ValueError(f"{path} must have a label for each case, but has none.")
    return train._replace(xs=labelled.xs, targets=_targets(path, labelled, train.classes))


def _targets(path: Path, labelled: gj.Labelled, classes: Sequence[str]) -> np.ndarray:
    """Returns the numbers of the labels' classes or, without classes, the labels as numbers."""
    numbers = {name: number for number, name in enumerate(classes)}
    targets = []
    for name, label in zip(labelled.names, labelled.labels or [], strict=True):
        try:
            targets.append(numbers[label] if classes else float(label))
        except (KeyError, ValueError):
            targets.append(np.nan)
        if not abs(targets[-1]) <= LARGEST:
            some = ", ".join(classes[:SHOWN]) + ", ..." * (len(classes) > SHOWN)
            needed = f"one of {some}, the labels in training" if classes else "a number to 1e18"
            message = f"{path}: case {name[:60]!r} must have as label {needed}, got {label[:60]!r}."
            raise ValueError(message) from None
    return np.array(targets, np.int32 if classes else float)


def _check_two_of_each(path: Path, cases: Cases) -> None:
    for name, count in zip(cases.classes, np.bincount(cases.targets), strict=True):
        if count < 2:
            raise ValueError(
                f"{path} must have two cases or more of each class, one to train on and one to "
                f"test on, got 1 of {name[:60]!r}; --test gives another file."
            )


def part_cases(cases: Cases, share: float, seed: int) -> tuple[Cases, Cases]:
    """Parts cases in two, class by class: one of each class or more, but never all, is left out."""
    rng = np.random.default_rng(seed)
    strata = cases.targets if cases.classes else np.zeros(len(cases.xs))
    left_out = np.zeros(len(cases.xs), bool)
    for stratum in np.unique(strata):
        places = rng.permutation(np.flatnonzero(strata == stratum))
        count = min(max(round(share * len(places)), 1), len(places) - 1)
        left_out[places[:count]] = True
    whole = gj.Dataset(cases.xs, cases.targets)
    kept, taken = (gj.take(whole, np.flatnonzero(each)) for each in (~left_out, left_out))
    return cases._replace(**kept._asdict()), cases._replace(**taken._asdict())
