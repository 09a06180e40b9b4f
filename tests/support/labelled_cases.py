"""Random labelled sequences, and plain writers of the files that hold them."""

import csv

import numpy as np
from refusals import blamed

import gru_jax as gj


def draw(rng, lengths=(3, 1, 5, 2), channels=3, missing=True):
    """Returns sequences [time, channels] in float32, a part of them NaN, and labels."""
    xs = [rng.normal(size=(n, channels)).astype(np.float32) for n in lengths]
    for x in xs if missing else []:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[0] = rng.normal(size=channels)
    return xs, [f"{i % 2} b" for i in range(len(xs))]


def text(value, missing="?"):
    return missing if np.isnan(value) else repr(float(value))


def ts(xs, labels, header="@classLabel true"):
    """Returns the text of a .ts file."""
    lines = ["#a note", "@problemName a", "@timeStamps false", header, "@data"]
    for x, label in zip(xs, labels, strict=True):
        lines.append(":".join([*(",".join(map(text, channel)) for channel in x.T), label]))
    return "\n".join(lines) + "\n"


def arff(xs, labels):
    """Returns the text of an .arff file of sequences of one length."""
    classes = ",".join(f"'{label}'" for label in sorted(set(labels)))
    steps = [f"@attribute att{i} numeric" for i in range(len(xs[0]))]
    single = xs[0].shape[1] == 1
    if not single:
        steps = ["@attribute series relational", *steps, "@end series"]
    lines = ["%a note", "@relation a", "", *steps, f"@attribute class {{{classes}}}", "@data"]
    for x, label in zip(xs, labels, strict=True):
        series = "\\n".join(",".join(map(text, channel)) for channel in x.T)
        lines.append(f"{series},'{label}'" if single else f"'{series}','{label}'")
    return "\n".join(lines) + "\n"


def long_rows(xs, labels):
    """Returns the rows of a long table: case, time, channels, label."""
    return [
        [f"case {i}", step * 10, *(text(value, "") for value in values), label]
        for i, (x, label) in enumerate(zip(xs, labels, strict=True))
        for step, values in enumerate(x)
    ]


def write_long(path, rows, channels=3, separator=","):
    """Writes a long table as CSV."""
    header = ["case", "time", *(f"c{i}" for i in range(channels)), "label"]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return path


def same(actual, xs, labels):
    assert actual.labels == labels
    assert len(actual.xs) == len(xs)
    for a, b in zip(actual.xs, xs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def refused(path, part, **options):
    """Asserts that a file is refused in one line that has a part."""
    with blamed(path, part):
        gj.read_labelled(path, **options)
