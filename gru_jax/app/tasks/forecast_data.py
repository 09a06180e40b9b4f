"""A user's table as batches of windows, with inputs that the table does not name.

    look-back  ->  | y, observed | covariates | calendar | y and covariates a season ago |
    horizon    ->  |    0,  0    | covariates | calendar | those of the last season      |

The calendar has waves of the day, the week and the year. SegRNN reads y alone, NaN where missing,
and the number of its series.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

import gru_jax as gj
from gru_jax.app.tasks.task import Arrays, Facts

DAY = np.timedelta64(86_400_000_000, "us")
WAVES = {"day": 3, "week": 3, "year": 1}
"""Sine and cosine waves within each period."""
FUTURE = 3
"""Inputs of a step before its covariates."""
DAYS = {"day": 1.0, "week": 7.0, "year": 365.2425}


class Source(NamedTuple):
    """Series with calendar, and some of their windows; None is those after the last targets."""

    table: gj.SeriesTable
    windows: gj.Windows | None


class Prepared(NamedTuple):
    """Windows and, for inputs of a season ago, its steps and the number of future covariates.

    For SegRNN also the number of each series in the net's parameters, and how many it knows.
    """

    windows: gj.Windows
    season: int
    future: int
    numbers: Int[np.ndarray, " series"] | None = None
    known: int = 0


class Batch(NamedTuple):
    """Windows as the net and its loss take them, in scaled units.

    Attributes:
        xs: inputs of look-back and horizon.
        lengths: their steps, the same for all.
        valid: False for rows that only fill up a batch.
        targets: y of the horizon; 0 is missing.
        observed: whether it is there.
        naive: y of the last season, in the horizon; 0 is missing.
        center: 0 of the scaled units, in those of y.
        scale: 1 of the scaled units.
    """

    xs: Float[Arrays, "*steps batch time input"]
    lengths: Int[Arrays, "*steps batch"]
    valid: Bool[Arrays, "*steps batch"]
    targets: Float[Arrays, "*steps batch horizon"]
    observed: Bool[Arrays, "*steps batch horizon"]
    naive: Float[Arrays, "*steps batch horizon"]
    center: Float[Arrays, "*steps batch"]
    scale: Float[Arrays, "*steps batch"]


def find_calendar(table: gj.SeriesTable) -> list[str]:
    """Returns the periods that a step is shorter than and that the longest series has twice."""
    longest = max(table.series, key=lambda series: len(series.y))
    if longest.times.dtype.kind != "M":
        return []
    days = (longest.times[-1] - longest.times[0]) / DAY
    step = days / max(len(longest.times) - 1, 1)
    return [name for name, period in DAYS.items() if 2 * step <= period and 2 * period <= days]


def add_calendar(table: gj.SeriesTable, calendar: Sequence[str], horizon: int) -> gj.SeriesTable:
    """Returns the table with waves of the periods as future covariates.

    Without other future covariates they reach to the end of the horizon.
    """
    every = []
    for series in table.series:
        length = len(series.future) if table.future else len(series.y) + horizon
        times = gj.step_times(table.freq, series.times[0], np.arange(length))
        waves = [series.future] if table.future else []
        waves += [_waves(times, name) for name in calendar]
        future = np.concatenate(waves, -1) if waves else np.zeros((length, 0), np.float32)
        every.append(series._replace(future=future))
    names = [
        f"{wave} {period}/{i + 1}"
        for period in calendar
        for i in range(WAVES[period])
        for wave in ("sin", "cos")
    ]
    return table._replace(series=tuple(every), future=(*table.future, *names))


def _waves(times: np.ndarray, period: str) -> Float[np.ndarray, "time waves"]:
    if period == "year":
        phase = (times - times.astype("datetime64[Y]").astype(times.dtype)) / DAY / DAYS["year"]
    else:
        phase = (times - np.datetime64(0, "us")) / DAY % DAYS[period] / DAYS[period]
    angles = 2 * np.pi * phase[:, None] * np.arange(1, WAVES[period] + 1)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(times), -1).astype(np.float32)


def make_windows(
    facts: Facts, table: gj.SeriesTable, cutoffs: Sequence[Int[np.ndarray, " _"]] | None = None
) -> gj.Windows:
    """Returns windows at the cutoffs of each series; without them, after the last targets.

    Raises:
        ValueError: if a series is too short, or its future covariates are.
    """
    if cutoffs is None and (gap := find_gap(facts, table)):
        raise ValueError(gap)
    std = gj.Standardization(np.array(facts["mean"]), np.array(facts["std"]))
    return gj.forecast_windows(table, facts["lookback"], facts["horizon"], std, cutoffs=cutoffs)


def prepare(facts: Facts, source: Source) -> Prepared:
    """Returns the windows, by default those after the last targets, as `batches` takes them.

    Raises:
        ValueError: if the net has no scale or vector for a series, or as from `make_windows`.
    """
    table, windows = source
    windows = make_windows(facts, table) if windows is None else windows
    prepared = Prepared(windows, facts["season"], len(facts["future"]))
    if not (known := len(facts["series"])):
        return prepared
    numbers = np.zeros(len(table.series), int)
    if facts["scales"] or known > 1:
        numbers = find_numbers(facts, table)
    if facts["scales"]:
        scales = np.array(facts["scales"], np.float32)[numbers]
        prepared = prepared._replace(windows=windows._replace(scales=scales))
    return prepared._replace(numbers=numbers, known=known) if facts["net"] == "segrnn" else prepared


def find_numbers(facts: Facts, table: gj.SeriesTable) -> Int[np.ndarray, " series"]:
    """Returns the places of the table's series among those of the training."""
    known = {name: i for i, name in enumerate(facts["series"])}
    for series in table.series:
        if series.id not in known:
            raise ValueError(
                f"series {series.id[:60]!r} must be one that the net was trained on, for it has a "
                f"scale or a vector for each: {', '.join(known)[:200]}."
            )
    return np.array([known[series.id] for series in table.series])


def find_gap(facts: Facts, table: gj.SeriesTable) -> str:
    """Returns in a sentence which steps a user's future covariates lack, or nothing."""
    horizon, names = facts["horizon"], facts["future"]
    for series in table.series:
        known = len(series.future) - len(series.y)
        if names and known < horizon:
            ends = np.array([len(series.future), len(series.y) + horizon - 1])
            times = gj.step_times(table.freq, series.times[0], ends)
            first, last = gj.format_times(times, utc=table.utc)
            return (
                f"series {series.id[:60]!r} must have {', '.join(names)} for {horizon} steps "
                f"after its last target, got {known}, none from {first} to {last}."
            )
    return ""


def digest(table: gj.SeriesTable) -> str:
    """Returns a short text that changes with the series."""
    state = hashlib.sha256()
    for series in table.series:
        state.update(series.id.encode())
        for values in series[1:]:
            state.update(np.ascontiguousarray(values).tobytes())
    return state.hexdigest()[:16]


def batches(
    prepared: Prepared, size: int, *, seed: int | None, epoch: int, limit: int | None, steps: int
) -> Iterator[Batch]:
    """Yields stacks of batches, as `gj.window_batches` does."""
    windows = prepared.windows
    stacks = gj.window_batches(windows, size, seed=seed, epoch=epoch, limit=limit, steps=steps)
    for stack in stacks:
        if prepared.numbers is None:
            last = _last_season(prepared, stack)
            xs, naive = np.concatenate([stack.inputs, last], -1), last[..., windows.lookback :, 0]
        else:
            xs, naive = _series_inputs(prepared, stack), np.zeros_like(stack.targets)
        yield Batch(
            xs,
            np.full(stack.numbers.shape, xs.shape[-2], np.int32),
            stack.numbers >= 0,
            stack.targets,
            stack.valid,
            naive,
            stack.center,
            stack.scale,
        )


def in_order(prepared: Prepared, size: int) -> Iterator[Batch]:
    """Yields all windows in batches, as `batches` does."""
    size = min(len(prepared.windows.starts), size)
    return batches(prepared, size, seed=None, epoch=0, limit=None, steps=1)


def _last_season(
    prepared: Prepared, batch: gj.WindowBatch
) -> Float[np.ndarray, "*steps batch time input"]:
    """Returns scaled y and the future covariates a season before each step; 0 is missing.

    In the horizon, they are of the last season before the cutoff. Where y is missing, it is that of
    an earlier season within a look-back.
    """
    windows, season, future = prepared[:3]
    ahead = np.arange(-windows.lookback, windows.horizon)
    shift = windows.lookback + ahead - season * np.maximum(ahead // season + 1, 1)
    rows = windows.starts[batch.numbers][..., None] + shift
    before = windows.cutoffs[batch.numbers][..., None] + shift - windows.lookback
    values = windows.rows.take(np.where(before >= 0, rows, 0), 0) * (before >= 0)[..., None]
    y, observed = values[..., 0], values[..., 1] > 0
    for back in range(season, windows.lookback, season):
        lost = np.nonzero(~observed & (before >= back))
        if not lost[0].size:
            break
        earlier = windows.rows.take(rows[lost] - back, 0)
        y[lost], observed[lost] = earlier[:, 0], earlier[:, 1] > 0
    y = observed * (y - batch.center[..., None]) / batch.scale[..., None]
    first = FUTURE + windows.num_past
    return np.concatenate([y[..., None], values[..., first : first + future]], -1, dtype=np.float32)


def _series_inputs(
    prepared: Prepared, batch: gj.WindowBatch
) -> Float[np.ndarray, "*steps batch lookback input"]:
    """Returns scaled y of the look-back, NaN where missing, and the number of one of several."""
    windows, numbers = prepared.windows, prepared.numbers
    assert numbers is not None
    y, observed = (batch.inputs[..., : windows.lookback, i] for i in (0, 1))
    y = np.where(np.asarray(observed) > 0, y, np.float32(np.nan))
    if prepared.known == 1:
        return y[..., None]
    rows = numbers[windows.series[batch.numbers]].astype(np.float32)
    return np.stack([y, np.broadcast_to(rows[..., None], y.shape)], -1)


def scaled_quantiles(outputs: Array, batch: Batch) -> Float[Array, "batch horizon quantiles"]:
    """Returns the quantiles of the horizon: what the net's last outputs add to the last season."""
    steps = batch.targets.shape[-1]
    return outputs[:, -steps:] + jax.numpy.asarray(batch.naive)[..., None]
