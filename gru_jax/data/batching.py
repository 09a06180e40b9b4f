"""Labelled sequences of any lengths, and the padded batches that a compiled loop can eat.

    Dataset --split--> train, validation --make_batches--> [steps, batch, time, *features]

All of it is NumPy on the host; the same seed and epoch give the same batches.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped

from gru_jax.types import ArrayLike


class Dataset(NamedTuple):
    """Sequences `[time, *features]`, each with its own number of steps, and one target for each."""

    xs: Sequence[Float[np.ndarray, "_ ..."]]
    targets: Shaped[np.ndarray, "..."]


class Batch(NamedTuple):
    """Padded sequences, with an axis of steps before the batch where many go into one loop.

    `xs` is `[*steps, batch, time, *features]`.
    """

    xs: Float[ArrayLike, "..."]
    lengths: Integer[ArrayLike, "*steps batch"]
    targets: Shaped[ArrayLike, "..."]
    valid: Bool[ArrayLike, "*steps batch"]
    """False rows only fill up a last batch: length 0, to be left out of every mean."""


def pad(
    sequences: Sequence[Shaped[np.ndarray, "_ ..."]], time: int | None = None
) -> tuple[Shaped[np.ndarray, "cases time ..."], Int[np.ndarray, " cases"]]:
    """Returns the sequences with zeros behind them, and their lengths.

    Args:
        sequences: one or more, with the same features; tokens, which are integers, may have none.
        time: steps to pad to; None is the longest sequence's.

    Raises:
        ValueError: if there is none, the features differ, or one is longer than `time`.
    """
    if not len(sequences):
        raise ValueError("pad: sequences must be one or more, got none.")
    sequences = list(map(np.asarray, sequences))
    shapes, dtype = sorted({s.shape for s in sequences}), np.result_type(*sequences)
    if not all(shapes) or len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(
            "pad: sequences must all be [time, *features] with the same features, "
            f"got shapes {shapes[:4]}."
        )
    features = shapes[0][1:]
    if not features and not np.issubdtype(dtype, np.integer):
        raise ValueError(f"pad: sequences [time] must be integers, got {dtype}.")
    lengths = np.array([len(s) for s in sequences], np.int32)
    time = int(lengths.max()) if time is None else time
    if lengths.max() > time:
        raise ValueError(f"pad: sequences must have {time} steps or fewer, got {lengths.max()}.")
    xs = np.zeros((len(sequences), time, *features), dtype)
    for row, sequence in zip(xs, sequences, strict=True):
        row[: len(sequence)] = sequence
    return xs, lengths


def take(dataset: Dataset, cases: Int[np.ndarray, " cases"]) -> Dataset:
    """Returns the cases with these numbers, in this order."""
    return Dataset([dataset.xs[i] for i in cases], dataset.targets[cases])


def split(dataset: Dataset, fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Parts a data set in two, class by class.

    Args:
        dataset: with one integer label for each sequence.
        fraction: share of each class that goes into the second part.
        seed: of the draw.

    Returns:
        The larger part, e.g. to train on, and the smaller one, e.g. for validation.

    Raises:
        ValueError: unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"split: fraction must be 0 < fraction < 1, got {fraction}.")
    rng = np.random.default_rng(seed)
    second = np.zeros(len(dataset.xs), bool)
    for label in np.unique(dataset.targets):
        cases = rng.permutation(np.flatnonzero(dataset.targets == label))
        second[cases[: round(fraction * len(cases))]] = True
    return take(dataset, np.flatnonzero(~second)), take(dataset, np.flatnonzero(second))


def make_batches(
    dataset: Dataset,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    boundaries: Sequence[int] | None = None,
    steps: int = 64,
) -> Iterator[Batch]:
    """Yields one epoch, every sequence once.

    Sequences of similar length share a batch, padded to their bucket's boundary. A compiled loop
    then sees one shape for each bucket and one for its remainder, not one for each length.

    Args:
        dataset: the sequences and their targets.
        batch_size: sequences in a batch; the last of a bucket is filled up with invalid rows.
        seed: of the order; None keeps the order of the data within each bucket.
        epoch: each has its own order.
        boundaries: the buckets' lengths, rising; None is one bucket, the longest sequence's.
        steps: batches stacked in one item at most.

    Raises:
        ValueError: if a size is out of range, or a sequence is longer than the last boundary.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"make_batches: dataset must be a Dataset(xs, targets), got a {type(dataset).__name__}."
        )
    lengths = np.array([len(s) for s in dataset.xs])
    if not len(lengths) or len(lengths) != len(dataset.targets):
        raise ValueError(
            "make_batches: dataset must have one target for each of one or more sequences, "
            f"got {len(lengths)} sequences and {len(dataset.targets)} targets."
        )
    if batch_size < 1 or steps < 1:
        raise ValueError(
            f"make_batches: batch_size and steps must be 1 or more, got {batch_size} and {steps}."
        )
    boundaries = [int(lengths.max())] if boundaries is None else list(boundaries)
    if not boundaries or boundaries != sorted(set(boundaries)) or lengths.max() > boundaries[-1]:
        raise ValueError(
            f"make_batches: boundaries must rise to {lengths.max()} or more, the longest "
            f"sequence, got {boundaries}."
        )
    order = np.asarray if seed is None else np.random.default_rng([seed, epoch]).permutation
    bucket, size = np.searchsorted(boundaries, lengths), batch_size * steps
    chunks = []
    for b, time in enumerate(boundaries):
        cases = order(np.flatnonzero(bucket == b))
        chunks += [(cases[i : i + size], time) for i in range(0, len(cases), size)]
    for c in order(range(len(chunks))):
        cases, time = chunks[c]
        yield _stack(take(dataset, cases), time, batch_size)


def _stack(dataset: Dataset, time: int, batch_size: int) -> Batch:
    xs, lengths = pad(dataset.xs, time)
    missing = -len(xs) % batch_size

    def shape(a: np.ndarray) -> np.ndarray:
        filler = np.zeros((missing, *a.shape[1:]), a.dtype)
        return np.concatenate([a, filler]).reshape(-1, batch_size, *a.shape[1:])

    return Batch(shape(xs), shape(lengths), shape(dataset.targets), shape(np.ones(len(xs), bool)))
