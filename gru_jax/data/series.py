"""Time series with covariates from a user's table.

    table = read_series(source, target="Demand", time="Time", future=["Temperature"])

Each series lies on the regular grid of the table's frequency. What is missing is NaN; nothing is
interpolated.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from gru_jax.data.calendar import Frequency, find_season, parse_frequency, step_times
from gru_jax.data.checks import check_counts
from gru_jax.data.frames import Source, as_source
from gru_jax.data.grid import Rows, check_ahead, check_rising, find_frequency, place_on_grid
from gru_jax.data.tables import check_complete, read_table
from gru_jax.data.times import parse_times

if TYPE_CHECKING:
    import polars


class Series(NamedTuple):
    """One series on a regular grid, in float32; NaN is missing.

    Attributes:
        id: its name.
        times: `datetime64[us]` or `int64`.
        y: the target, up to its last observed value.
        past: covariates that are known as long as y is.
        future: covariates that are known as long as y is, and longer.
    """

    id: str
    times: Shaped[np.ndarray, " time"]
    y: Float[np.ndarray, " time"]
    past: Float[np.ndarray, "time past"]
    future: Float[np.ndarray, "longer future"]


class SeriesTable(NamedTuple):
    """The series of a table and what they have in common.

    Attributes:
        series: in the order in which the table first names them.
        freq: the time between two steps; `str(freq)` is pandas' name for it.
        season: steps of a season.
        past: names of the past covariates.
        future: names of the future covariates.
        utc: whether the times had a zone, and are UTC now.
        absent: steps without a row before the last target of their series.
    """

    series: tuple[Series, ...]
    freq: Frequency
    season: int
    past: tuple[str, ...]
    future: tuple[str, ...]
    utc: bool
    absent: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Returns the names of the inputs of a step, as windows hold them."""
        return ("y", "observed", "ahead", *self.past, *self.future)


def read_series(
    source: Any,
    *,
    target: str | Sequence[str],
    id: str | None = None,
    time: str = "ds",
    future: str | Sequence[str] = (),
    past: str | Sequence[str] = (),
    freq: str | int | None = None,
    season: int | None = None,
) -> SeriesTable:
    """Reads time series from a CSV or a Parquet file, or from a data frame.

    A row is a step of a series. Steps without a row are missing, and so are empty cells of the
    target and of past covariates. Rows after the last target of a series are its known future;
    without future covariates they are left out.

    Args:
        source: the path of the file, or a DataFrame of polars or pandas.
        target: the column to forecast. Several columns are one series each.
        id: the column that tells the series apart. None is one series, named by its target.
        time: the column of times: ISO dates, with or without a time of day and a zone; months such
            as `2024-01` and `2024 Jan`; quarters such as `2024 Q1`; or integers.
        future: columns that are known for the steps to forecast, e.g. of holidays.
        past: columns that are known only as long as the target is.
        freq: the step, as pandas writes it: `30min`, `h`, `D`, `W`, `MS`, `QS`, `YS`; or an
            integer. None takes the most common difference between two rows.
        season: steps per season. None is a day for steps shorter than a day, a week for days, and
            a year for weeks, months and quarters.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source holds no valid series; the message names column and line; rows
            of a Parquet file and of a frame count from 1.
    """
    source = as_source("read_series", source)
    targets, future, past = map(_as_names, (target, future, past))
    _check_columns(targets, [time, *future, *past], id)
    if season is not None:
        check_counts("read_series", season=season)
    step = None if freq is None else parse_frequency("read_series", freq)
    texts = [time] if id is None else [time, id]
    table = read_table(source, numbers=targets, texts=[*texts, *future, *past])
    check_complete(source, table, [*texts, *future])
    times, utc = parse_times(source, time, table[time])
    known = _read_covariates(source, table, future, complete=True)
    unknown = _read_covariates(source, table, past, complete=False)
    every = _split_rows(table, targets, id, time, times)
    for rows in every:
        check_rising(source, time, rows, alone=id is None)
    step = find_frequency(source, time, [rows.times for rows in every], step)
    series, absent = [], 0
    for rows in every:
        positions = place_on_grid(source, time, rows, step)
        observed = positions[~np.isnan(rows.y)]
        if not len(observed):
            raise ValueError(
                f"{source}: series {rows.id[:60]!r} must have a target, but all are missing."
            )
        length = int(observed[-1]) + 1
        within = positions < length
        kept = within | bool(future)
        absent += length - int(within.sum())
        if future:
            check_ahead(source, time, rows, positions, length)
        series.append(
            Series(
                id=rows.id,
                times=step_times(step, rows.times[0], np.arange(length)),
                y=_spread(rows.y[within], positions[within]),
                past=_spread(unknown[rows.places][within], positions[within]),
                future=_spread(known[rows.places][kept], positions[kept]),
            )
        )
    season = find_season(step) if season is None else season
    return SeriesTable(tuple(series), step, season, past, future, utc, absent)


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _check_columns(targets: tuple[str, ...], others: list[str], id: str | None) -> None:
    """Raises unless each column has one role."""
    if not targets or (id is not None and len(targets) > 1):
        raise ValueError(
            "read_series: target must be one column, or several without id, "
            f"got {list(targets)} and id {id!r}."
        )
    columns = [*targets, *others] + ([] if id is None else [id])
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            "read_series: target, id, time, future and past must be different columns, "
            f"got {twice!r} twice."
        )


def _read_covariates(
    source: Source, table: "polars.DataFrame", names: tuple[str, ...], *, complete: bool
) -> np.ndarray:
    """Returns columns of numbers `[rows, names]`; TRUE and FALSE are 1 and 0."""
    columns = {}
    for name in names:
        words = table[name].str.strip_chars().str.to_lowercase()
        if set(words.unique()) - {""} <= {"true", "false"}:
            flags = words.to_numpy()
            columns[name] = np.where(flags == "", np.nan, flags == "true")
    numbers = [name for name in names if name not in columns]
    if numbers:
        values = read_table(source, numbers=numbers)
        if complete:
            check_complete(source, values, numbers)
        columns |= {column.name: column.to_numpy() for column in values}
    stacked = [columns[name].astype(np.float32) for name in names]
    return np.stack(stacked, -1) if names else np.zeros((len(table), 0), np.float32)


def _split_rows(
    table: "polars.DataFrame",
    targets: tuple[str, ...],
    id: str | None,
    time: str,
    times: np.ndarray,
) -> list[Rows]:
    """Returns the rows of each series, in the table's order."""
    texts = table[time].to_numpy()
    if id is None:
        places = np.arange(len(table))
        return [Rows(name, places, texts, times, table[name].to_numpy()) for name in targets]
    y = table[targets[0]].to_numpy()
    groups = table.with_row_index("row").group_by(id, maintain_order=True).agg("row")
    return [
        Rows(name, places, texts[places], times[places], y[places])
        for name, places in zip(groups[id], map(np.array, groups["row"]), strict=True)
    ]


def _spread(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns the values in their places up to the last position, NaN between them."""
    spread = np.full((int(positions[-1]) + 1, *values.shape[1:]), np.nan, np.float32)
    spread[positions] = values
    return spread
