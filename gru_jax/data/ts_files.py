"""Labelled sequences in `.ts` files, the text form of the archives of time series.

    @classLabel true a b
    @data
    1,2,3:4,5,6:a
    7,?:8,9:b

A line is a case: dimensions parted by ":", their steps by ",", the label last.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gru_jax.data.labelled import Labelled
from gru_jax.files import check_size


def read_ts(path: Path) -> Labelled:
    """Reads a `.ts` file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file; the message names the line.
    """
    lines = text_lines(path, "#%")
    header = _read_header(path, lines)
    labelled = not ("targetlabel" in header or header.get("classlabel") == ["false"])
    labelled |= header.get("targetlabel") == ["true"]
    classes = {name.lower(): name for name in header.get("classlabel", ["true"])[1:]}
    size = 1 if header.get("univariate") == ["true"] else _size(path, header, "dimensions")
    length = _size(path, header, "serieslength") if header.get("equallength") == ["true"] else None
    xs, labels = [], []
    for line, text in lines:
        *fields, label = text.split(":") if labelled else [*text.split(":"), ""]
        if not fields:
            raise ValueError(f"{path}: line {line} must end in a colon and a label, but does not.")
        size = size or len(fields)
        if len(fields) != size:
            raise ValueError(f"{path}: line {line} must have {size} dimensions, got {len(fields)}.")
        x = parse_series(path, line, fields)
        if length and len(x) != length:
            raise ValueError(f"{path}: line {line} must have {length} steps, got {len(x)}.")
        label = label.strip()
        if labelled and classes and label.lower() not in classes:
            raise ValueError(
                f"{path}: line {line} must have one of the header's labels, got {label[:60]!r}."
            )
        xs.append(x)
        labels.append(classes.get(label.lower(), label))
    names = [str(case) for case in range(len(xs))]
    return Labelled(names, xs, labels if labelled else None, channel_names(size or 1))


def text_lines(path: Path, comments: str) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file, stripped and with their numbers; no empty ones or comments.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has zero bytes, or a line is not UTF-8.
    """
    check_size(path)
    if not path.stat().st_size:
        raise ValueError(f"{path} must be a file of sequences, but has zero bytes.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip()
            if not line or line[:1] in [mark.encode() for mark in comments]:
                continue
            if b"\0" in line:
                raise ValueError(f"{path}: line {number} must be text in UTF-8, got a NUL byte.")
            try:
                yield number, line.decode()
            except UnicodeDecodeError as error:
                byte = f"{line[error.start]:#04x}"
                message = f"{path}: line {number} must be UTF-8, got the byte {byte}."
                raise ValueError(message) from error


def parse_series(path: Path, line: int, fields: list[str]) -> Float[np.ndarray, "time channels"]:
    """Returns the dimensions, each a text with commas, as `[time, channels]`; "?" is NaN."""
    series = []
    for channel, field in zip(channel_names(len(fields)), fields, strict=True):
        where, values = f"{path}: line {line}, dimension {channel!r}", field.split(",")
        if not field.strip():
            raise ValueError(f"{where} must have one step or more, got none.")
        if field.lstrip().startswith("("):
            raise ValueError(f"{where} must be values without time stamps, got {field[:60]!r}.")
        try:
            numbers = [float(value) for value in field.replace("?", "nan").split(",")]
        except ValueError:
            numbers = []
        if not numbers or "_" in field:
            step = next(i for i, value in enumerate(values) if not _is_number(value))
            raise ValueError(
                f"{where}, step {step + 1} must be a number, got {values[step].strip()[:60]!r}."
            )
        if series and len(numbers) != len(series[0]):
            raise ValueError(
                f"{where} must have {len(series[0])} steps, as the first, got {len(numbers)}."
            )
        series.append(numbers)
    with np.errstate(over="ignore"):  # infinity is refused later, by name
        return np.array(series).T.astype(np.float32)


def channel_names(count: int) -> tuple[str, ...]:
    """Returns the names of channels in a file that gives them none."""
    return tuple(f"dim_{i}" for i in range(count))


def _is_number(value: str) -> bool:
    try:
        float(value.replace("?", "nan"))
    except ValueError:
        return False
    return "_" not in value


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> dict[str, list[str]]:
    """Returns the words behind each key, down to @data."""
    header = {}
    for line, text in lines:
        key, *words = text.split()
        key = key.lower()
        if key == "@data":
            return header
        if not key.startswith("@"):
            raise ValueError(f"{path}: line {line} must be a key as @data, got {text[:60]!r}.")
        if key != "@classlabel":
            words = [word.lower() for word in words]
        elif words:
            words[0] = words[0].lower()
        if key == "@timestamps" and words == ["true"]:
            raise ValueError(
                f"{path}: line {line} must be @timeStamps false, got true (series with time stamps "
                "are read from tables)."
            )
        if key == "@dimension":
            key = "@dimensions"
        header[key[1:]] = words
    raise ValueError(f"{path} must have a line @data, but has none.")


def _size(path: Path, header: dict[str, list[str]], key: str) -> int | None:
    words = header.get(key)
    if words is None:
        return None
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) < 1:
        got = " ".join(words)[:60]
        raise ValueError(f"{path}: @{key} must be a number of 1 or more, got {got!r}.")
    return int(words[0])
