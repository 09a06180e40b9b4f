"""The rows of a series on a regular grid, and each way in which they are not."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from gru_jax.data.calendar import (
    Frequency,
    count_steps,
    find_anchor,
    infer_frequency,
    step_times,
)
from gru_jax.data.frames import Source
from gru_jax.data.tables import place

_SPARSEST = 10
"""Most steps for each row: more have another frequency, or a mistaken time."""


class Rows(NamedTuple):
    """The rows of one series.

    Attributes:
        id: its name.
        places: the rows' places in the table.
        texts: the times as they are written.
        times: `datetime64[us]` or `int64`.
        y: the target; NaN is missing.
    """

    id: str
    places: Int[np.ndarray, " rows"]
    texts: Shaped[np.ndarray, " rows"]
    times: Shaped[np.ndarray, " rows"]
    y: Float[np.ndarray, " rows"]


def check_rising(source: Source, time: str, rows: Rows, *, alone: bool) -> None:
    """Raises unless each row is later than the one before it; `alone` is without ids."""
    wrong = np.flatnonzero(rows.times[1:] <= rows.times[:-1])
    if not len(wrong):
        return
    row = int(wrong[0]) + 1
    again = rows.times[row] == rows.times[row - 1]
    expected = "hold each time once" if again else "rise from row to row"
    series = "" if alone else f" of series {rows.id[:60]!r}"
    hint = "; if the table holds several series, name their column as id" if alone else ""
    raise ValueError(
        f"{_where(source, time, rows, row)} must {expected}, got {rows.texts[row]!r} after "
        f"{rows.texts[row - 1]!r}{series}{hint}."
    )


def find_frequency(
    source: Source, time: str, times: Sequence[Shaped[np.ndarray, " _"]], freq: Frequency | None
) -> Frequency:
    """Returns the frequency given or found; raises ValueError if the times have none."""
    if freq is None:
        freq = infer_frequency(times)
        if freq is None:
            raise ValueError(
                f"{source}: column {time!r} must hold two times of a series or more, got one of "
                "each."
            )
        return freq
    every = np.concatenate(times)
    dated = every.dtype.kind == "M"
    if dated == (freq.unit == "integer"):
        expected = "a step such as 30min, h, D or MS" if dated else "a whole number"
        kind = "dates" if dated else "integers"
        raise ValueError(
            f"{source}: freq must be {expected}, as column {time!r} holds {kind}, got {freq}."
        )
    return freq._replace(unit=find_anchor(every) or "month") if freq.unit == "month" else freq


def place_on_grid(
    source: Source, time: str, rows: Rows, freq: Frequency
) -> Int[np.ndarray, " rows"]:
    """Returns the steps from the first row to each; raises ValueError if one is off the grid."""
    positions = count_steps(freq, rows.times[0], rows.times)
    off = np.flatnonzero(step_times(freq, rows.times[0], positions) != rows.times)
    if len(off):
        row = int(off[0])
        raise ValueError(
            f"{_where(source, time, rows, row)} must be whole steps of {freq} after "
            f"{rows.texts[0]!r}, got {rows.texts[row]!r}; give freq if the step is another."
        )
    steps = int(positions[-1]) + 1
    if steps > _SPARSEST * len(positions):
        row = int(np.argmax(np.diff(positions))) + 1
        raise ValueError(
            f"{_where(source, time, rows, row)} must leave out fewer steps of {freq}: series "
            f"{rows.id[:60]!r} has {len(positions)} rows for {steps} steps, most of them between "
            f"{rows.texts[row - 1]!r} and {rows.texts[row]!r}."
        )
    return positions


def check_ahead(
    source: Source, time: str, rows: Rows, positions: Int[np.ndarray, " rows"], length: int
) -> None:
    """Raises unless the rows after the last target, the last of so many steps, have no gap."""
    ahead = positions[positions >= length - 1]
    gaps = np.flatnonzero(np.diff(ahead) > 1)
    if len(gaps):
        row = len(positions) - len(ahead) + int(gaps[0]) + 1
        raise ValueError(
            f"{_where(source, time, rows, row)} must leave out no step behind the last target of "
            f"series {rows.id[:60]!r}, got {rows.texts[row]!r} after {rows.texts[row - 1]!r}."
        )


def _where(source: Source, time: str, rows: Rows, row: int) -> str:
    return f"{source}: {place(source, int(rows.places[row]))}, column {time!r}"
