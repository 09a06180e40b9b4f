"""Labelled sequences in a long table: a row is a step, `case, time, channels..., label`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from gru_jax.data.csv_files import MISSING
from gru_jax.data.labelled import Labelled
from gru_jax.data.tables import check_complete, place, read_table

if TYPE_CHECKING:
    import polars


def read_long(
    path: Path, case: str, time: str | None, label: str | None, channels: Sequence[str] | None
) -> Labelled:
    """Reads a long table; see `read_labelled`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a table; the message names line (or row) and column.
    """
    texts = [name for name in (case, time, label) if name is not None]
    if len(set(texts)) < len(texts):
        raise ValueError(f"{path}: case, time and label must be different columns, got {texts}.")
    table = read_table(path, numbers=channels, texts=texts)
    table = table.with_columns(table[name].str.strip_chars() for name in texts)
    names = [name for name in table.columns if name not in texts]
    if not names:
        raise ValueError(f"{path} must have one channel or more, but its columns are {texts}.")
    check_complete(path, table, texts)
    codes = _codes(table[case])
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    if time is not None:
        _check_times(path, table[time], time, codes, order)
    if label is not None:
        _check_labels(path, table, label, case, order[starts][codes])
    values = np.empty((len(table), len(names)), np.float32)
    for i, name in enumerate(names):
        values[:, i] = table[name].to_numpy()[order]
    return Labelled(
        table[case].gather(order[starts]).to_list(),
        np.split(values, starts[1:]),
        None if label is None else table[label].gather(order[starts]).to_list(),
        tuple(names),
    )


def _codes(texts: "polars.Series") -> Int[np.ndarray, " rows"]:
    """Returns the number of each row's text, in the order of their first appearance."""
    ranks = texts.rank("dense").to_numpy().astype(np.int64) - 1
    _, first = np.unique(ranks, return_index=True)
    return np.argsort(np.argsort(first))[ranks]


def _check_times(
    path: Path, times: "polars.Series", name: str, codes: np.ndarray, order: np.ndarray
) -> None:
    """Makes sure that times rise within each case."""
    values = _parse_times(path, times, name)[order]
    wrong = (np.diff(codes[order]) == 0) & (np.diff(values) <= 0)
    if wrong.any():
        row, before = min((int(order[i + 1]), int(order[i])) for i in np.flatnonzero(wrong))
        raise ValueError(
            f"{path}: {place(path, row)}, column {name!r} must rise within a case, "
            f"got {times[row][:60]!r} after {times[before][:60]!r}."
        )


def _parse_times(path: Path, times: "polars.Series", name: str) -> Float[np.ndarray, " rows"]:
    """Returns times, numbers or ISO dates, as numbers."""
    import polars as pl

    texts = times.str.replace(",", ".", literal=True)
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() | ~numbers.is_finite()
    if not wrong.any():
        return numbers.to_numpy()
    if not wrong[0]:
        row = int(wrong.arg_true()[0])
        raise ValueError(
            f"{path}: {place(path, row)}, column {name!r} must be a number as before, "
            f"got {times[row][:60]!r}."
        )
    values = np.empty(len(times))
    for row, text in enumerate(times):
        try:
            time = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(
                f"{path}: {place(path, row)}, column {name!r} must be a number or an ISO date, "
                f"got {text[:60]!r}."
            ) from error
        values[row] = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return values


def _check_labels(
    path: Path, table: "polars.DataFrame", label: str, case: str, firsts: np.ndarray
) -> None:
    """Makes sure that each row has a label, that of its case's first row."""
    labels = table[label]
    missing = labels.is_in(MISSING).arg_true()
    if len(missing):
        row = missing[0]
        raise ValueError(
            f"{path}: {place(path, row)}, column {label!r} must be a label, got {labels[row]!r}."
        )
    wrong = np.flatnonzero((labels != labels.gather(firsts)).to_numpy())
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(
            f"{path}: {place(path, row)}, column {label!r} must not change within a case, got "
            f"{labels[row][:60]!r} after {labels[int(firsts[row])][:60]!r} "
            f"in case {table[case][row][:60]!r}."
        )
