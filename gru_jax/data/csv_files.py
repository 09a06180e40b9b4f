"""The form of a CSV file, and its first fault.

One fast pass over the bytes proves that every line is text with the header's number of fields, so
that a parser of numbers can be trusted with the rest. Only if something is wrong, a slow pass over
the cells finds the line and the column to name. Lines count as in an editor; the header is line 1.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""Cells of number columns that hold no number."""

LARGEST = 1e18
"""Largest size of a number: the squares of larger ones overflow float32."""

_CHUNK = 1 << 23
_LONGEST = 1 << 24
_NUMBER = re.compile(r"[-+]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][-+]?[0-9]+)?")
_COMMA = re.compile(rb"[0-9],[0-9]")
_INFINITY = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)


class Form(NamedTuple):
    """The form of a CSV file."""

    names: list[str]
    """In the header; without one, the columns' numbers from 1."""
    separator: str
    header: bool


class Lines(NamedTuple):
    """The lines of a CSV file; one in quotes may have many."""

    first: int
    """Place of the first row, behind the header and empty lines."""
    height: int
    """Lines from there on, empty ones included."""
    empty: Int[np.ndarray, " lines"]
    """The empty lines' places among these."""
    points: bool
    """Whether a decimal point occurs anywhere."""
    commas: bool
    """Whether a decimal comma may occur anywhere."""


def read_form(path: Path, header: bool = True) -> Form:
    """Reads the header and finds the separator: comma, semicolon or tab.

    Args:
        path: the file.
        header: whether it must have one; otherwise a first line of numbers is none.

    Raises:
        ValueError: if there is no header, or it names a column twice.
    """
    with path.open("rb") as file:
        sample = file.readline(_LONGEST) + file.read(1 << 16)
        cut = file.read(1) and b"\n" in sample
    sample = sample[: sample.rfind(b"\n") + 1] if cut else sample
    if not sample:
        raise ValueError(f"{path} must be a table with a header, but has zero bytes.")
    _check_text(path, sample, 0)
    lines = [f"{line}\n" for line in sample.decode("utf-8-sig").split("\n")]
    try:
        tables = {
            mark: list(itertools.islice(csv.reader(lines, delimiter=mark), 50)) for mark in "\t;,"
        }
    except csv.Error as error:
        raise ValueError(f"{path}: line 1 must name the columns, but: {error}.") from error
    separators = [s for s, rows in tables.items() if rows and len(rows[0]) > 1]
    even = [s for s in separators if len({len(row) for row in tables[s] if row}) == 1]
    separator = (even or separators or [","])[0]
    names = [name.strip() for name in (tables[separator] or [[]])[0]]
    if not any(names):
        raise ValueError(f"{path}: line 1 must name the columns, got an empty line.")
    numbers = [bool(_NUMBER.fullmatch(name)) or name in MISSING for name in names]
    if all(numbers) and not header:
        return Form([str(i + 1) for i in range(len(names))], separator, False)
    if all(numbers) or (any(map(_NUMBER.fullmatch, names)) and not header):
        raise ValueError(
            f"{path}: line 1 must name the columns, got {'only' if header else 'also'} numbers: "
            f"{_cut(','.join(names))}."
        )
    for column, name in enumerate(names):
        if name and name in names[:column]:
            raise ValueError(
                f"{path}: line 1 must name each column once, got {_cut(name)!r} "
                f"in columns {names.index(name) + 1} and {column + 1}."
            )
    return Form(names, separator, True)


def check_lines(path: Path, form: Form) -> Lines:
    """Makes sure that every line is UTF-8 with the header's number of fields.

    Raises:
        ValueError: if one is not, or there is none below the header.
    """
    fields, separator = len(form.names), ord(form.separator)
    records, before, empty, points, commas = 0, 0, [], False, False
    for block in _blocks(path):
        _check_text(path, block, before)
        _check_quotes(path, block, separator, before)
        data = np.frombuffer(block, np.uint8)
        marks = np.flatnonzero(_unquoted(block, data, (data == separator) | (data == 10)))
        ends = np.flatnonzero(data[marks] == 10)
        counts, stops = np.diff(ends, prepend=-1), marks[ends]
        starts = np.concatenate([[0], stops[:-1] + 1])
        blank = (stops == starts) | ((stops == starts + 1) & (data[starts] == 13))
        ragged = np.flatnonzero((counts != fields) & ~blank)
        if ragged.size:
            line = before + block[: starts[ragged[0]]].count(b"\n") + 1
            got = int(counts[ragged[0]])
            raise ValueError(
                f"{path}: line {line} must have {fields} fields, as the first, got {got}."
            )
        empty.append(np.flatnonzero(blank) + records)
        records, before = records + len(ends), before + block.count(b"\n")
        points = points or b"." in block
        commas = commas or (form.separator != "," and bool(_COMMA.search(block)))
    places = np.concatenate(empty) - form.header
    if records - len(places) <= form.header:
        raise ValueError(f"{path} must have rows below its header, but has none.")
    leading = int(np.cumprod(places == np.arange(len(places))).sum())
    first = form.header + leading
    return Lines(first, records - first, places[leading:] - leading, points, commas)


def rows(path: Path, form: Form) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of each row that is neither the header nor empty."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=form.separator)
        start = 1
        try:
            for cells in reader:
                if cells and (start > 1 or not form.header):
                    yield start, cells
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path}: line {start} must be fields, but: {error}.") from error


def find_comma(path: Path, form: Form) -> int:
    """Returns the first line with a decimal comma in any column, or 0."""
    for line, cells in rows(path, form):
        if any("," in cell and _NUMBER.fullmatch(cell.strip()) for cell in cells):
            return line
    return 0


def check_numbers(path: Path, form: Form, columns: Sequence[int], comma: int = 0) -> str:
    """Makes sure, cell by cell, that columns hold numbers; returns their decimal mark.

    Args:
        path: the file.
        form: its form.
        columns: the columns' places.
        comma: a line that has a decimal comma, if one is known to.

    Raises:
        ValueError: naming the first cell that does not.
    """
    decimal, first = "," if comma else "", comma
    for line, cells in rows(path, form):
        for column in columns:
            cell = cells[column].strip()
            if cell in MISSING or cell.lower() in ("nan", "-nan"):
                continue
            where, got = (
                f"{path}: line {line}, column {form.names[column]!r}",
                f"got {_cut(cell)!r}",
            )
            if _INFINITY.fullmatch(cell):
                raise ValueError(f"{where} must be finite, {got}.")
            if not _NUMBER.fullmatch(cell) or ("," in cell and form.separator == ","):
                raise ValueError(f"{where} must be a number, {got}.")
            mark = "," if "," in cell else "." if "." in cell else decimal
            if decimal and mark != decimal:
                raise ValueError(f"{where} must have the decimal mark of line {first}, {got}.")
            decimal, first = mark, first or (line if mark else 0)
            if abs(float(cell.replace(",", "."))) > LARGEST:
                raise ValueError(f"{where} must be from -1e18 to 1e18, {got}.")
    return decimal or "."


def _blocks(path: Path) -> Iterator[bytes]:
    """Yields the file in blocks of whole records, each with a newline at its end."""
    rest, line = b"", 1
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            block = rest + chunk
            data = np.frombuffer(block, np.uint8)
            ends = np.flatnonzero(_unquoted(block, data, data == 10))
            end = int(ends[-1]) + 1 if ends.size else 0
            rest = block[end:]
            if end:
                yield block[:end]
                line += block[:end].count(b"\n")
            if len(rest) > _LONGEST:
                raise ValueError(
                    f"{path}: line {line} must be a row, but it does not end (do its quotes?)."
                )
    if rest and rest.count(b'"') % 2:
        raise ValueError(f"{path}: line {line} must close its quotes, but they stay open.")
    if rest:
        yield rest + b"\n"


def _unquoted(block: bytes, data: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Leaves out the marks between quotes."""
    return marks & ~np.logical_xor.accumulate(data == 34) if b'"' in block else marks


def _check_text(path: Path, block: bytes, before: int) -> None:
    """Raises unless a block, behind so many lines, is UTF-8 without NUL or stray returns."""
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line = before + block[: error.start].count(b"\n") + 1
        byte = f"{block[error.start]:#04x}"
        raise ValueError(f"{path}: line {line} must be UTF-8, got the byte {byte}.") from error
    if b"\0" in block:
        line = before + block[: block.index(b"\0")].count(b"\n") + 1
        raise ValueError(f"{path}: line {line} must be text in UTF-8, got a NUL byte.")
    if block.count(b"\r") != block.count(b"\r\n"):
        stray = re.search(rb"\r(?!\n)", block)
        line = before + block[: stray.start() if stray else 0].count(b"\n") + 1
        raise ValueError(
            f"{path}: line {line} must end in a line feed, got a carriage return alone."
        )


def _check_quotes(path: Path, block: bytes, separator: int, before: int) -> None:
    """Raises unless quotes enclose whole fields: parsers do not agree on others."""
    if b'"' not in block:
        return
    data = np.frombuffer(block.removeprefix(b"\xef\xbb\xbf"), np.uint8)
    quotes = np.flatnonzero(data == 34)
    opening, closing = quotes[::2], quotes[1::2]
    stray = opening[~np.isin(data[opening - 1], [separator, 10, 34])]  # a block ends in 10
    stray = [*stray, *closing[~np.isin(data[closing + 1], [separator, 10, 13, 34])]]
    if stray:
        line = before + data[: min(stray)].tobytes().count(b"\n") + 1
        raise ValueError(f"{path}: line {line} must have quotes around whole fields alone.")


def _cut(text: str) -> str:
    """Returns the beginning of a text from the user's file."""
    return text if len(text) <= 60 else f"{text[:60]}..."
