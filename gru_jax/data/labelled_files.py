"""Labelled sequences from a user's file, by its ending."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gru_jax.data.arff_files import read_arff
from gru_jax.data.files import check_lengths
from gru_jax.data.labelled import Labelled, check_labelled, cut_missing_end
from gru_jax.data.labelled_tables import read_long
from gru_jax.data.tables import CSV, PARQUET
from gru_jax.data.ts_files import channel_names, read_ts
from gru_jax.files import read_npz

_XS, _LABELS = ("xs", "x", "X"), ("labels", "y", "Y")


def read_labelled(
    path: str | os.PathLike[str],
    *,
    case: str = "case",
    time: str | None = "time",
    label: str | None = "label",
    channels: Sequence[str] | None = None,
    need_label: bool = True,
) -> Labelled:
    """Reads sequences and one label for each from a file.

    Tables (`.csv`, `.tsv`, `.txt`, `.parquet`) are long: a row is a step, and the rows with the
    same text in the column `case` are a case. In `.ts` and `.arff` files, as the archives of time
    series have them, a line is a case.

    An `.npz` holds `xs` (or `x`, `X`), `[case, time, channel]` or `[case, time]`. It may hold
    `labels` (or `y`, `Y`), texts or numbers, and `lengths`, which cut off the padding. Other
    libraries hold `[case, channel, time]`, so `xs` with more channels than steps is refused, unless
    `lengths` or `channels` confirm that it is meant.

    In `.npz` and `.arff` files, steps at the end in which all is NaN are padding.

    Args:
        path: the file.
        case: column of the cases' names, in a table; their rows need not be together.
        time: column of numbers or ISO dates that rise within a case; None takes rows in order.
        label: column of the label, the same in all rows of a case; None reads no labels.
        channels: columns of numbers, None is all others; in other files the channels' names.
        need_label: whether a table must have that column; False reads labels if it is there.

    Returns:
        The cases in the file's order. Numbers that are missing are NaN.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold such sequences; the message names line or case.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in CSV + PARQUET:
        return check_labelled(path, read_long(path, case, time, label, channels, need_label))
    if suffix == ".npz":
        labelled = _read_npz(path, channels)
    elif suffix in (".ts", ".arff"):
        labelled = read_ts(path) if suffix == ".ts" else read_arff(path)
    else:
        endings = ", ".join([*CSV, PARQUET[0], ".ts", ".arff"])
        raise ValueError(f"{path} must end in {endings} or .npz.")
    if channels is not None and len(channels) != len(labelled.channels):
        raise ValueError(
            f"{path} must have {len(channels)} channels, as their names, "
            f"got {len(labelled.channels)}."
        )
    labelled = labelled._replace(
        channels=labelled.channels if channels is None else tuple(channels),
        labels=None if label is None else labelled.labels,
    )
    return check_labelled(path, labelled)


def _read_npz(path: Path, channels: Sequence[str] | None) -> Labelled:
    arrays = read_npz(path)
    series = [name for name in _XS if name in arrays]
    targets = [name for name in _LABELS if name in arrays]
    if len(series) != 1 or len(targets) > 1 or arrays.keys() - {*_XS, *_LABELS, "lengths"}:
        raise ValueError(
            f"{path} must hold xs and may hold labels and lengths, "
            f"got {', '.join(arrays)[:120] or 'nothing'}."
        )
    xs, lengths = arrays[series[0]], arrays.get("lengths")
    if xs.ndim not in (2, 3) or xs.dtype.kind not in "fiu" or not xs.size:
        raise ValueError(
            f"{path}: {series[0]} must be numbers [case, time, channel] or [case, time], "
            f"got {list(xs.shape)} {xs.dtype}."
        )
    xs = xs[..., None] if xs.ndim == 2 else xs
    _check_axes(path, series[0], xs, lengths, channels)
    with np.errstate(over="ignore"):  # infinity is refused later, by name
        cases = list(xs.astype(np.float32))
    if lengths is None:
        cases = list(map(cut_missing_end, cases))
    else:
        check_lengths(path, series[0], xs, lengths)
        cases = [x[:length] for x, length in zip(cases, lengths, strict=True)]
    labels = _labels(path, targets[0], arrays[targets[0]], len(xs)) if targets else None
    return Labelled(list(map(str, range(len(xs)))), cases, labels, channel_names(xs.shape[2]))


def _check_axes(
    path: Path,
    name: str,
    xs: np.ndarray,
    lengths: np.ndarray | None,
    channels: Sequence[str] | None,
) -> None:
    """Refuses `[case, channel, time]`.

    Lengths or names that fit one axis alone are a sure sign. More channels than steps are only a
    likely one, so either is enough to overrule it.
    """
    _, time, size = xs.shape
    longest = int(lengths.max()) if lengths is not None and lengths.size else 0
    named = 0 if channels is None else len(channels)
    swapped = named == time != size
    confirmed = 0 < longest <= time or named == size
    if swapped or (time < size and not confirmed):
        raise ValueError(
            f"{path}: {name} must be [case, time, channel], but {list(xs.shape)} looks like [case, "
            f"channel, time]: save {name}.swapaxes(1, 2), or lengths beside it if the series "
            f"do have {time} steps of {size} channels."
        )


def _labels(path: Path, name: str, labels: np.ndarray, cases: int) -> list[str]:
    """Returns labels as texts; whole numbers without a point."""
    if labels.shape != (cases,) or labels.dtype.kind not in "USiufb":
        raise ValueError(
            f"{path}: {name} must be {cases} texts or numbers, "
            f"got {list(labels.shape)} {labels.dtype}."
        )
    if labels.dtype.kind == "S":
        try:
            return np.char.decode(labels, "utf-8").tolist()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {name} must be UTF-8, but: {error}.") from error
    if labels.dtype.kind != "f":
        return list(map(str, labels.tolist()))
    if not np.isfinite(labels).all():
        place = int(np.argmin(np.isfinite(labels)))
        raise ValueError(f"{path}: {name} must be finite, got {labels[place]} in case {place}.")
    return [str(int(value)) if value % 1 == 0 else str(value) for value in labels]
