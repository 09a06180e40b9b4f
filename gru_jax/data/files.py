"""Sequences from a user's files.

Files are not trusted: nothing is unpickled, sizes are checked, and a misfit is one clear error.
"""

import os
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from gru_jax.data import csv_files
from gru_jax.files import check_size, read_npz


def read_sequences(
    path: str | os.PathLike[str], channels: int, space: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Reads sequences `[time, *space, channels]` from an `.npz` or a `.csv` file.

    In an `.npz`, each array `[time, *space, channels]` is a sequence with the array's name. Arrays
    `[cases, time, *space, channels]` are many; an integer array `lengths` `[cases]` beside a single
    such array cuts off its padding.

    A `.csv` is for steps without space axes. In it, a line is a step and a column a channel;
    commas, semicolons or tabs part them. A first line with no number in it is a header; a column
    that it calls `sequence` tells the sequences apart.

    Args:
        path: the file.
        channels: features of one step.
        space: the space axes of one step.

    Returns:
        Sequences by name, in the file's order, float32.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or does not hold such sequences.
    """
    path = Path(path)
    readers = {".npz": partial(_read_npz, 2 + len(space))} | ({} if space else {".csv": _read_csv})
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} must end in {' or '.join(readers)}.")
    sequences = readers[path.suffix.lower()](path)
    if not sequences:
        raise ValueError(f"{path} must hold one sequence or more, but holds none.")
    for name, xs in sequences.items():
        if xs.shape[1:] != (*space, channels) or not len(xs):
            expected = ", ".join(["time", *map(str, (*space, channels))])
            raise ValueError(
                f"{path}: sequence {name} must be [{expected}] with one step or more, "
                f"got {list(xs.shape)}."
            )
        if not np.isfinite(xs).all():
            step = int(np.argmin(np.isfinite(xs.reshape(len(xs), -1)).all(1)))
            raise ValueError(
                f"{path}: sequence {name} must be finite, got NaN or infinity at step {step}."
            )
    return sequences


def _read_npz(axes: int, path: Path) -> dict[str, np.ndarray]:
    """Returns sequences of so many axes, also from arrays of one more, for the cases."""
    arrays = read_npz(path)
    lengths = arrays.pop("lengths", None)
    if lengths is not None and [array.ndim for array in arrays.values()] != [axes + 1]:
        raise ValueError(f"{path}: lengths must stand beside a single {axes + 1}-D array.")
    sequences = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{path}: array {name} must be numbers, got {array.dtype}.")
        if array.ndim != axes + 1:
            sequences[name] = array.astype(np.float32)
            continue
        ends = np.full(len(array), array.shape[1]) if lengths is None else lengths
        check_lengths(path, name, array, ends)
        for case, (xs, end) in enumerate(zip(array, ends, strict=True)):
            sequences[f"{name}[{case}]"] = xs[:end].astype(np.float32)
    return sequences


def check_lengths(path: Path, name: str, array: np.ndarray, lengths: np.ndarray) -> None:
    """Makes sure that lengths fit an array `[case, time, ...]`.

    Raises:
        ValueError: unless they are as many integers, from 1 to all steps.
    """
    fits = lengths.shape == (len(array),) and lengths.dtype.kind in "iu"
    if not fits or ((lengths < 1) | (lengths > array.shape[1])).any():
        raise ValueError(
            f"{path}: lengths must be {len(array)} integers from 1 to {array.shape[1]} "
            f"to match {name} {list(array.shape)}, got {list(lengths.shape)} {lengths.dtype}."
        )


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    check_size(path)
    form = csv_files.read_form(path, header=False)
    csv_files.check_lines(path, form)
    numbers = [i for i, name in enumerate(form.names) if name != "sequence"]
    mark = csv_files.check_numbers(path, form, numbers)
    steps = defaultdict(list)
    for _, cells in csv_files.rows(path, form):
        name = cells[form.names.index("sequence")] if "sequence" in form.names else path.stem
        values = [cells[i].strip().replace(mark, ".") for i in numbers]
        steps[name].append([np.nan if v in csv_files.MISSING else float(v) for v in values])
    return {name: np.array(values, np.float32) for name, values in steps.items()}
