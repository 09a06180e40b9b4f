"""Tables with named columns from a user's CSV or Parquet file, or from a data frame.

    table = read_table(source, numbers=["x", "y"], texts=["label"])

polars parses; it is imported here on first use. Every number is finite or missing, so whoever
takes a table only has to decide about missing ones.
"""

import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gru_jax.data import csv_files
from gru_jax.data.csv_files import LARGEST, MISSING, Form, Lines
from gru_jax.data.frames import Frame, Source

if TYPE_CHECKING:
    import polars

CSV = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")

MAX_CELLS = 1 << 30
"""Most numbers and texts of a Parquet file: a small one can unpack to many."""


def read_table(
    source: Source,
    *,
    numbers: Sequence[str] | None,
    texts: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> "polars.DataFrame":
    """Reads columns of a table from a CSV or a Parquet file, or from a data frame.

    A CSV file is UTF-8 with a header; separator (comma, semicolon, tab) and decimal mark are found.
    Empty lines are skipped.

    Args:
        source: a frame, or a path that ends in .csv, .tsv, .txt, .parquet or .pq.
        numbers: columns of numbers; None is all that are not in `texts`.
        texts: columns of text, which is kept as it is written.
        optional: columns among both that may be absent.

    Returns:
        The columns in this order, `numbers` (Float64) before `texts` (String). Missing
        numbers are null, missing texts are empty.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not such a table; the message names line (or row) and column.
    """
    try:
        import polars as pl
    except ImportError as error:
        message = f"{source} needs polars to be read: pip install 'gru_jax[data]'."
        raise ValueError(message) from error
    if isinstance(source, Path) and source.suffix.lower() not in CSV + PARQUET:
        raise ValueError(f"{source} must end in {', '.join(CSV)} or {PARQUET[0]}.")
    if isinstance(source, Path) and not source.is_file():
        raise FileNotFoundError(f"{source} must be a file, but there is none.")
    try:
        if isinstance(source, Frame):
            return _select(source, source.columns.lazy(), numbers, texts, optional)
        read = _read_csv if source.suffix.lower() in CSV else _read_parquet
        return read(source, numbers, texts, optional)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{source} must be a whole table, but polars says: {reason}.") from error


def place(source: Source, row: int) -> str:
    """Returns a row's place in its table, for messages: "line 7" or "row 6"."""
    if isinstance(source, Frame) or source.suffix.lower() in PARQUET:
        return f"row {row + 1}"
    lines = csv_files.rows(source, csv_files.read_form(source))
    return f"line {next(itertools.islice(lines, row, None))[0]}"


def check_complete(source: Source, table: "polars.DataFrame", columns: Sequence[str]) -> None:
    """Makes sure that no number and no text of these columns is missing.

    Raises:
        ValueError: naming the first row that lacks one, and the column.
    """
    rows = {}
    for name in columns:
        column = table[name]
        missing = (column.is_null() if column.dtype.is_numeric() else column == "").arg_true()
        if len(missing):
            rows[name] = missing[0]
    if rows:
        name = min(rows, key=lambda name: rows[name])
        raise ValueError(
            f"{source}: {place(source, rows[name])}, column {name!r} must not be missing, but is."
        )


def _choose(
    source: Source,
    names: list[str],
    numbers: Sequence[str] | None,
    texts: Sequence[str],
    optional: Sequence[str],
) -> tuple[list[str], list[str]]:
    """Returns the columns of numbers and of texts that the file has."""
    if numbers is None:
        numbers = [name for name in names if name not in texts]
        if not all(names):
            place = names.index("") + 1
            raise ValueError(f"{source}: the header must name each column, but not column {place}.")
    for name in dict.fromkeys([*numbers, *texts]):
        if name in numbers and name in texts:
            raise ValueError(f"{source}: column {name!r} must be numbers or text, got both.")
        if name not in names and name not in optional:
            close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], 1)
            meant = [n for n in names if close and n.lower() == close[0]]
            hint = f" (did you mean {meant[0]!r}?)" if meant else ""
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise ValueError(
                f"{source} must have a column {name!r}, but its columns are {shown[:500]}{hint}."
            )
    numbers = [name for name in dict.fromkeys(numbers) if name in names]
    return numbers, [name for name in dict.fromkeys(texts) if name in names]


def _read_csv(
    path: Path, numbers: Sequence[str] | None, texts: Sequence[str], optional: Sequence[str]
) -> "polars.DataFrame":
    import polars as pl

    form = csv_files.read_form(path)
    lines = csv_files.check_lines(path, form)
    chosen, written = _choose(path, form.names, numbers, texts, optional)
    table = _parse_numbers(path, form, lines, chosen)
    text = _parse(path, form, lines, written, pl.String).fill_null("")
    table = pl.concat([part for part in (table, text) if part.width], how="horizontal")
    if table.height != lines.height:
        raise ValueError(f"{path} must have {lines.height} rows, but polars reads {table.height}.")
    if len(lines.empty):
        keep = np.ones(lines.height, bool)
        keep[lines.empty] = False
        table = table.filter(pl.Series(keep))
    return table


def _parse_numbers(path: Path, form: Form, lines: Lines, columns: list[str]) -> "polars.DataFrame":
    """Parses as polars does; if it cannot, finds the cell to blame, or parses with more care."""
    import polars as pl

    if not columns:
        return pl.DataFrame()
    places = list(map(form.names.index, columns))
    for comma in [False] + [True] * (form.separator != ","):
        try:
            table = _parse(path, form, lines, columns, pl.Float64, decimal_comma=comma)
        except pl.exceptions.ComputeError:
            continue
        if comma and lines.points:  # polars would read 1.234 as a number, too
            csv_files.check_numbers(path, form, places)
        elif lines.points and lines.commas and (line := csv_files.find_comma(path, form)):
            csv_files.check_numbers(path, form, places, line)  # 1.234 may be a thousand
        return _without_nan(table) if _in_range(table) else _blame(path, form, places)
    decimal = csv_files.check_numbers(path, form, places)
    table = _parse(path, form, lines, columns, pl.String).select(pl.all().str.strip_chars())
    table = table.select(pl.when(~pl.all().is_in(MISSING)).then(pl.all()))
    return _without_nan(table.select(pl.all().str.replace(decimal, ".", literal=True).cast(float)))


def _blame(path: Path, form: Form, places: list[int]) -> Any:
    csv_files.check_numbers(path, form, places)
    raise ValueError(f"{path} must hold finite numbers from -1e18 to 1e18.")


def _parse(
    path: Path, form: Form, lines: Lines, columns: list[str], dtype: Any, **options: Any
) -> "polars.DataFrame":
    import polars as pl

    places = {name: f"column_{form.names.index(name) + 1}" for name in columns}
    if not places:
        return pl.DataFrame()
    table = pl.read_csv(
        path,
        has_header=False,
        skip_rows=lines.first,
        separator=form.separator,
        columns=list(places.values()),
        schema={f"column_{i + 1}": dtype for i in range(len(form.names))},
        null_values=list(MISSING) if dtype == pl.Float64 else None,
        **options,
    )
    return table.select(pl.col(place).alias(name) for name, place in places.items())


def _read_parquet(
    path: Path, numbers: Sequence[str] | None, texts: Sequence[str], optional: Sequence[str]
) -> "polars.DataFrame":
    import polars as pl

    if not path.stat().st_size:
        raise ValueError(f"{path} must be a Parquet file, but has zero bytes.")
    return _select(path, pl.scan_parquet(path), numbers, texts, optional)


def _select(
    source: Source,
    columns: "polars.LazyFrame",
    numbers: Sequence[str] | None,
    texts: Sequence[str],
    optional: Sequence[str],
) -> "polars.DataFrame":
    """Returns columns that have types as numbers and as text."""
    import polars as pl

    schema = columns.collect_schema()
    chosen, written = _choose(source, list(schema), numbers, texts, optional)
    for name in chosen:
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null)):
            raise ValueError(f"{source}: column {name!r} must be numbers, got {schema[name]}.")
    for name in written:
        if schema[name].is_nested():
            raise ValueError(f"{source}: column {name!r} must be text, got {schema[name]}.")
    height = columns.select(pl.len()).collect().item()
    if not height:
        raise ValueError(f"{source} must have one row or more, but has none.")
    if height * len(chosen + written) > MAX_CELLS:
        raise ValueError(
            f"{source} must have {MAX_CELLS} numbers and texts or fewer, "
            f"got {height} rows of {len(chosen + written)}."
        )
    as_written = {name: pl.col(name) for name in written}
    for name, column in as_written.items():
        if schema[name].is_temporal():
            as_written[name] = column.dt.to_string("iso:strict")
        elif schema[name].is_float():
            as_written[name] = column.fill_nan(None)
    table = columns.select(
        *(pl.col(name).cast(pl.Float64) for name in chosen),
        *(column.cast(pl.String).fill_null("") for column in as_written.values()),
    ).collect()
    for name in chosen:
        wrong = (table[name].abs() > LARGEST) & table[name].is_not_nan()
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise ValueError(
                f"{source}: row {row + 1}, column {name!r} must be finite and from -1e18 to 1e18, "
                f"got {table[name][row]}."
            )
    return _without_nan(table)


def _in_range(table: "polars.DataFrame") -> bool:
    """Returns whether all numbers but NaN have an allowed size."""
    return all(not ((column.abs() > LARGEST) & column.is_not_nan()).any() for column in table)


def _without_nan(table: "polars.DataFrame") -> "polars.DataFrame":
    import polars as pl
    import polars.selectors as cs

    return table.with_columns(cs.float().fill_nan(pl.lit(None)))
