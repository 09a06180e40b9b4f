"""Labelled sequences: one text for each, which the caller takes for a class or for a number."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gru_jax.data.csv_files import LARGEST, MISSING


class Labelled(NamedTuple):
    """Sequences from a file, each with its name and its label."""

    names: list[str]
    xs: list[Float[np.ndarray, "_ channels"]]
    """float32 `[time, channels]`; NaN is a missing value."""
    labels: list[str] | None
    """As they stand in the file; None if it has none."""
    channels: tuple[str, ...]


def class_names(labels: Sequence[str]) -> list[str]:
    """Returns the classes among labels in order: numbers by size, other texts by letters.

    Raises:
        ValueError: unless there are two or more.
    """
    classes = sorted(set(labels))
    if len(classes) < 2:
        got = f"only {classes[0][:60]!r}" if classes else "none"
        raise ValueError(f"class_names: labels must be of two classes or more, got {got}.")
    return sorted(classes, key=float) if _numbers(classes) is not None else classes


def labels_are_numbers(labels: Sequence[str]) -> bool:
    """Returns whether labels must be numbers to predict: all are, and one has decimals.

    Whole numbers alone can also be the numbers of classes. Whoever knows better says so.
    """
    values = _numbers(labels)
    return values is not None and bool((values % 1 != 0).any())


def check_labelled(path: Path, labelled: Labelled) -> Labelled:
    """Makes sure that sequences from a file can be trained on; returns them.

    Raises:
        ValueError: if there is none, one is empty, too large or missing altogether, a channel is
            missing in all, or a label is missing.
    """
    names, xs, labels, channels = labelled
    if not names:
        raise ValueError(f"{path} must hold one sequence or more, but holds none.")
    observed = np.zeros(len(channels), bool)
    for name, x in zip(names, xs, strict=True):
        if not len(x):
            raise ValueError(f"{path}: case {name!r} must have one step or more, got none.")
        known = ~np.isnan(x)
        if not known.any():
            raise ValueError(f"{path}: case {name!r} must have one value or more, got none.")
        large = known & ~(np.abs(x) <= LARGEST)
        if large.any():
            step, channel = np.argwhere(large)[0]
            raise ValueError(
                f"{path}: case {name!r}, step {step + 1}, channel {channels[channel]!r} must be "
                f"finite and from -1e18 to 1e18, got {x[step, channel]}."
            )
        observed |= known.any(0)
    if not observed.all():
        channel = channels[int(np.argmin(observed))]
        raise ValueError(f"{path}: channel {channel!r} must have one value or more, got none.")
    for name, label in zip(names, labels or [], strict=bool(labels)):
        if label.strip() in MISSING:
            raise ValueError(f"{path}: case {name!r} must have a label, got {label!r}.")
    return labelled


def cut_missing_end(x: Float[np.ndarray, "time channels"]) -> Float[np.ndarray, "_ channels"]:
    """Leaves out the steps at the end in which all is missing: padding of a rectangular file."""
    known = np.flatnonzero(~np.isnan(x).all(1))
    return x[: known[-1] + 1 if known.size else 0]


def _numbers(labels: Sequence[str]) -> Float[np.ndarray, " labels"] | None:
    """Parses labels; None if one is not a finite number."""
    try:
        values = np.array([float(label) for label in labels])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None
