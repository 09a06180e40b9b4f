r"""Labelled sequences in `.arff` files, Weka's form, as the archives of time series use it.

    @attribute a numeric             @attribute series relational
    @attribute b numeric               @attribute a numeric
    @attribute class {x,y}             @attribute b numeric
    @data                            @end series
    1,2,x                            @attribute class {x,y}
                                     @data
                                     '1,2\n3,4',x

An attribute is a step. On the right, with many channels, `\n` divides these.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gru_jax.data.labelled import Labelled, cut_missing_end
from gru_jax.data.ts_files import channel_names, parse_series, text_lines

_ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)\s+(.+)", re.IGNORECASE)
_WORD = re.compile(r"\s*('[^']*'|\"[^\"]*\"|[^,]*)\s*(?:,|$)")


class _Header(NamedTuple):
    """The attributes."""

    steps: int
    relational: bool
    classes: list[str]


def read_arff(path: Path) -> Labelled:
    """Reads an `.arff` file; missing steps at the end are padding, and left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file; the message names the line.
    """
    lines = text_lines(path, "%")
    header = _read_header(path, lines)
    xs, labels, size = [], [], None
    for line, text in lines:
        if header.relational:
            match = re.fullmatch(r"'([^']*)'\s*,(.*)|\"([^\"]*)\"\s*,(.*)", text)
            if match is None:
                raise ValueError(f"{path}: line {line} must be a quoted series and a label.")
            series, label = [group for group in match.groups() if group is not None]
            fields = series.split("\\n")
        else:
            values = text.split(",", header.steps)
            if len(values) != header.steps + 1:
                raise ValueError(
                    f"{path}: line {line} must have {header.steps} steps and a label, "
                    f"got {len(values)} values."
                )
            fields, label = [",".join(values[:-1])], values[-1]
        size = size or len(fields)
        if len(fields) != size:
            raise ValueError(f"{path}: line {line} must have {size} dimensions, got {len(fields)}.")
        x, label = parse_series(path, line, fields), _unquote(label)
        if len(x) != header.steps:
            raise ValueError(f"{path}: line {line} must have {header.steps} steps, got {len(x)}.")
        if label not in header.classes:
            raise ValueError(
                f"{path}: line {line} must have one of the header's labels, got {label[:60]!r}."
            )
        xs.append(cut_missing_end(x))
        labels.append(label)
    names = [str(case) for case in range(len(xs))]
    return Labelled(names, xs, labels, channel_names(size or 1))


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> _Header:
    steps, relational, classes, inside = 0, False, [], False
    for line, text in lines:
        key = text.split()[0].lower()
        if key == "@data":
            break
        if key in ("@relation", "@end"):
            inside = False
            continue
        match = _ATTRIBUTE.fullmatch(text)
        if match is None:
            raise ValueError(f"{path}: line {line} must be an attribute, got {text[:60]!r}.")
        kind = match[2].strip()
        if classes:
            raise ValueError(f"{path}: line {line} must be @data, for the class is the last.")
        if kind.lower() == "relational" and not steps:
            relational = inside = True
        elif kind.lower() in ("numeric", "real", "integer") and inside == relational:
            steps += 1
        elif kind[0] == "{" and kind[-1] == "}" and not inside:
            classes = [_unquote(word) for word in _WORD.findall(kind[1:-1]) if word.strip()]
        else:
            raise ValueError(
                f"{path}: line {line} must be a numeric step or, at the end, "
                f"a class with its values, got {text[:60]!r}."
            )
    else:
        raise ValueError(f"{path} must have a line @data, but has none.")
    if not steps or not classes:
        raise ValueError(f"{path}: the attributes must be one step or more and then a class.")
    return _Header(steps, relational, classes)


def _unquote(word: str) -> str:
    word = word.strip()
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word
