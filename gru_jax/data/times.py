"""The times of a table, from text and to text.

    2024-01-31   20240131   2024-01-31 13:30   2024-01-31T13:30:05.25Z   2024-01-31T13:30+11:00
    2024-01      2024 Jan   2024 Q1            2024Q1                    17

Times with a zone become UTC.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from gru_jax.data.frames import Source
from gru_jax.data.tables import place

if TYPE_CHECKING:
    import polars

_ISO = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<minute>\d{2}:\d{2})(?<second>:\d{2}(?:\.\d{1,9})?)?"
    r" ?(?<zone>Z|UTC|[+-](?:0\d|1[0-4]):?[0-5]\d)?)?$"
)
_NAMES = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_DATES = {r"^(\d{4}-\d{2})$": "${1}-01"}
_DATES |= {rf"^(\d{{4}})[ -]?Q{q + 1}$": f"${{1}}-{3 * q + 1:02}-01" for q in range(4)}
_DATES |= {rf"^(\d{{4}})[ -]{name}$": f"${{1}}-{i + 1:02}-01" for i, name in enumerate(_NAMES)}
_LATEST = 10**15


def parse_times(
    source: Source, name: str, column: "polars.Series"
) -> tuple[Shaped[np.ndarray, " rows"], bool]:
    """Returns the times of a column of text, and whether they had a zone.

    Raises:
        ValueError: if one is not a time; the message names line and column.
    """
    import polars as pl

    def check(wrong: "polars.Series", expected: str) -> None:
        if wrong.any():
            row = wrong.arg_true()[0]
            raise ValueError(
                f"{source}: {place(source, row)}, column {name!r} must {expected}, "
                f"got {column[row][:60]!r}."
            )

    text = column.str.strip_chars()
    integers = text.cast(pl.Int64, strict=False)
    if 2 * integers.null_count() < len(text):
        days = text.str.to_date("%Y%m%d", strict=False)
        if not days.null_count() and (text.str.len_chars() == 8).all():
            return days.to_numpy().astype("datetime64[us]"), False
        check(integers.is_null(), "be an integer, as most of its column")
        check(integers.abs() > _LATEST, "be from -1e15 to 1e15")
        return integers.to_numpy(), False
    fields = text.str.extract_groups(_ISO).struct.unnest()
    if fields["date"].null_count():
        for pattern, date in _DATES.items():
            text = text.str.replace(pattern, date)
        fields = text.str.extract_groups(_ISO).struct.unnest()
    clock = fields["minute"].fill_null("00:00") + fields["second"].fill_null(":00")
    moments = (fields["date"] + "T" + clock).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False
    )
    expected = "be an ISO date, e.g. 2024-01-31 or 2024-01-31T13:30, or an integer"
    check(moments.is_null(), expected)
    zones = fields["zone"]
    utc = zones[0] is not None
    check(zones.is_null() == utc, f"have {'a' if utc else 'no'} zone, as the first row")
    return moments.to_numpy() - _offsets(zones), utc


def format_times(times: Shaped[np.ndarray, " times"], *, utc: bool = False) -> list[str]:
    """Returns times as text: integers, ISO dates, or with a time of day if one is not midnight.

    Args:
        times: `datetime64[us]` or `int64`.
        utc: whether to add a Z to the time of day.
    """
    if times.dtype.kind != "M":
        return [str(time) for time in times.tolist()]
    units = ("s", "us") if utc else ("D", "s", "us")
    exact = (times.astype(f"datetime64[{unit}]") for unit in units)
    shortest = next(rounded for rounded in exact if (rounded == times).all())
    return [f"{text}{'Z' if utc else ''}" for text in shortest.astype(str)]


def _offsets(zones: "polars.Series") -> np.ndarray:
    """Returns how far zones such as +11:00 are ahead of UTC."""
    import polars as pl

    digits = zones.str.replace(":", "", literal=True).cast(pl.Int64, strict=False).fill_null(0)
    hours, minutes = np.divmod(np.abs(digits.to_numpy()), 100)
    return (np.sign(digits.to_numpy()) * (60 * hours + minutes)).astype("timedelta64[m]")
