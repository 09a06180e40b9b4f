"""The steps of a time series: their frequency, their season and their grid.

    infer_frequency([times])              the commonest step, or months
    step_times(freq, start, [0, 1, 2])    start, start + freq, start + 2 freq
    count_steps(freq, start, times)       its inverse

Times are `datetime64[us]` or `int64`. Months are calendar months: their lengths differ.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_SIZES = {"W": 7 * _DAY, "D": _DAY, "h": 3600 * _SECOND, "min": 60 * _SECOND, "s": _SECOND}
_SIZES |= {"ms": 1000, "us": 1}
_MONTHS = {"Y": 12, "Q": 3, "M": 1}
_OLD = {"H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "A": "Y", "d": "D"}
_OLD |= {name + end: name for name in _MONTHS for end in "SE"} | {"AS": "Y"}
_EXAMPLES = "30min, h, D, W, MS, QS or YS"


class Frequency(NamedTuple):
    """The time between two steps.

    Attributes:
        unit: "us", "month" (the same day of each month), "month end" or "integer".
        size: units in a step.
    """

    unit: str
    size: int

    def __str__(self) -> str:
        """Returns the name that pandas gives it, e.g. `30min` or `QS`; of integers, the step."""
        if self.unit == "integer":
            return str(self.size)
        sizes, end = (_SIZES, "") if self.unit == "us" else (_MONTHS, "SE"[self.unit != "month"])
        name, unit = next(item for item in sizes.items() if self.size % item[1] == 0)
        count = self.size // unit
        return f"{'' if count == 1 else count}{name}{end}"


def parse_frequency(function: str, text: str | int) -> Frequency:
    """Returns the frequency that pandas writes like this, e.g. `30min`, `W-SUN` or `MS`.

    Raises:
        ValueError: if there is no such frequency.
    """
    match = re.fullmatch(r"([1-9]\d{0,8})?([A-Za-z]*)(?:-[A-Z]{3})?", str(text))
    count, name = (int(match[1] or 1), match[2]) if match else (1, "")
    name = _OLD.get(name, name)
    if match and match[1] and not name:
        return Frequency("integer", count)
    if name in _MONTHS:
        return Frequency("month", count * _MONTHS[name])
    if name not in _SIZES:
        raise ValueError(
            f"{function}: freq must be {_EXAMPLES}, or a whole number from 1 for times that are "
            f"integers, got {text!r}."
        )
    return Frequency("us", count * _SIZES[name])


def infer_frequency(times: Sequence[Shaped[np.ndarray, " _"]]) -> Frequency | None:
    """Returns the commonest step of rising times, or None if each series has one time.

    Of two steps that are equally common, it is the smaller one. Steps are months if all times are
    on the same day of a month, or all on the last one, at the same time of day.

    Args:
        times: of each series.
    """
    every = np.concatenate(times)
    steps = np.concatenate([np.diff(each) for each in times]).astype(np.int64)
    if not len(steps):
        return None
    common = _commonest(steps)
    if every.dtype.kind != "M":
        return Frequency("integer", common)
    unit = find_anchor(every)
    if unit is None:
        return Frequency("us", common)
    return Frequency(unit, _commonest(np.concatenate([np.diff(_months(each)) for each in times])))


def find_anchor(times: Shaped[np.ndarray, " times"]) -> str | None:
    """Returns the unit of months, "month" or "month end", whose grid holds all times, or None."""
    clock = times - times.astype("datetime64[D]")
    day = times.astype("datetime64[D]") - _month_starts(times)
    if (clock != clock[:1]).any():
        return None
    if (day == day[:1]).all() and (day < np.timedelta64(28, "D")).all():
        return "month"
    next_day = times.astype("datetime64[D]") + np.timedelta64(1, "D")
    return "month end" if (next_day == _month_starts(next_day)).all() else None


def find_season(freq: Frequency) -> int:
    """Returns the number of steps of the usual season.

    | steps of          | season   |
    |-------------------|----------|
    | less than a day   | a day    |
    | a day             | a week   |
    | a week            | 52 weeks |
    | months            | a year   |

    It is 1 if the season is not a whole number of steps, and for integers.
    """
    if freq.unit == "integer":
        return 1
    if freq.unit != "us":
        season = 12
    else:
        season = next((s for s in (_DAY, 7 * _DAY, 52 * 7 * _DAY) if freq.size < s), freq.size)
    steps, rest = divmod(season, freq.size)
    return 1 if rest else steps


def step_times(
    freq: Frequency, start: np.datetime64 | np.int64, steps: Int[np.ndarray, " steps"]
) -> Shaped[np.ndarray, " steps"]:
    """Returns the times at a number of steps after a start, e.g. the times of a forecast.

    Args:
        freq: the time between two steps.
        start: a time of the series, e.g. the last one.
        steps: whole numbers; negative ones go back.
    """
    if freq.unit == "integer":
        return start + freq.size * steps
    if freq.unit == "us":
        return start + (freq.size * steps).astype("timedelta64[us]")
    first = np.asarray(start)[None]
    months = (_months(first) + freq.size * steps).astype("datetime64[M]")
    if freq.unit == "month":
        return months.astype("datetime64[us]") + (first - _month_starts(first))
    clock = first - first.astype("datetime64[D]")
    last_day = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    return last_day.astype("datetime64[us]") + clock


def count_steps(
    freq: Frequency, start: np.datetime64 | np.int64, times: Shaped[np.ndarray, " times"]
) -> Int[np.ndarray, " times"]:
    """Returns the number of whole steps from the start to each time.

    A time is on the grid if `step_times` gives it back.
    """
    if freq.unit in ("integer", "us"):
        return (times - start).astype(np.int64) // freq.size
    return (_months(times) - _months(np.asarray(start)[None])) // freq.size


def _commonest(steps: np.ndarray) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _months(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]").astype(np.int64)


def _month_starts(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]").astype(times.dtype)
