"""Data frames in memory, accepted wherever a file is.

    source = as_source("read_series", frame)    messages call it "table": "table: row 7, ..."

Frames of pandas are converted column by column, without pyarrow.
"""

import sys
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import polars


class Frame(NamedTuple):
    """A data frame."""

    columns: "polars.DataFrame"

    def __str__(self) -> str:
        """Returns its name in messages."""
        return "table"


Source: TypeAlias = Path | Frame
"""A table: the path of a file, or a frame."""


def as_source(function: str, table: Any) -> Source:
    """Returns the path of a file, or a frame of polars or pandas.

    Raises:
        ValueError: if it is none of these, names a column twice, or polars is not installed.
    """
    if isinstance(table, str | Path):
        return Path(table)
    polars, pandas = map(sys.modules.get, ("polars", "pandas"))
    if polars and isinstance(table, polars.DataFrame):
        return Frame(table)
    if not (pandas and isinstance(table, pandas.DataFrame)):
        raise ValueError(
            f"{function}: table must be a path, or a DataFrame of polars or pandas, "
            f"got {type(table).__name__}."
        )
    return Frame(_from_pandas(function, table))


def _from_pandas(function: str, table: Any) -> "polars.DataFrame":
    try:
        import polars as pl
    except ImportError as error:
        message = f"{function}: table needs polars to be read: pip install 'gru_jax[data]'."
        raise ValueError(message) from error
    names = [str(name) for name in table.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{function}: table must name each column once, got {twice!r} twice.")
    columns = [_convert(table.iloc[:, i]) for i in range(len(names))]
    return pl.DataFrame(dict(zip(names, columns, strict=True)), strict=False)


def _convert(column: Any) -> Any:
    """Returns a column for polars: numbers and times stay, other values become text."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "M":
        return column.to_numpy().astype("datetime64[us]")
    return [
        None if missing else value if isinstance(value, Number) else str(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]
