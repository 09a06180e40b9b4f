"""Ratios, tables and the figure of the benchmark."""

import re
from typing import get_args

import numpy as np
import pytest
from contenders import FORMS, SIZE, printed, row
from matplotlib.figure import Figure

from gru_jax.app.bench import figure, report, results
from gru_jax.app.bench.contenders import CONTENDERS, OURS, PeerName
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS
from gru_jax.app.bench.problem import Size
from gru_jax.app.bench.timing import spread


def test_ratios_are_to_ours_of_the_same_form_round_by_round():
    """The second round was ten times slower for both, which says nothing of either."""
    small, large = Size(1, 1, 1, 1), Size(9, 9, 9, 9)
    some = [
        row(small, OURS, "before", 9.0, 9.0, 9.0),
        row(small, OURS, "after", 1.0, 10.0, 2.0),
        row(small, "linen", "after", 2.0, 20.0, 6.0),
        row(large, OURS, "after", 1.0, 1.0, 1.0),
        row(large, "linen", "after", 8.0, 8.0, 3.0),
        row(large, "haiku", "before", 1.0, 1.0, 1.0),
    ]
    ratios = results.relative(some, "train")
    assert ratios == {"linen (after)": {small: [2, 2, 3], large: [8, 8, 3]}}
    assert np.median([2, 20, 6]) / np.median([1, 10, 2]) == 3
    assert results.relative(some, "forward") == {}
    # Rounds' geometric means are 4, 4 and 3; the least size has 2, 2 and 3.
    text = printed(some)
    assert re.search(r"^linen \(after\) +4\.0 ±0\.2 +2\.0 ±0\.2 +- +-", text, re.MULTILINE)
    assert re.search(r"^haiku \(before\) +- +- +- +-", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((12.3456, 12.1, 12.7), "12.3 ±0.3"),
        ((123.456, 119, 127), "123 ±4"),
        ((123.456, 109, 137), "120 ±10"),
        ((0.0123456, 0.01214, 0.01254), "0.0123 ±0.0002"),
        ((12.3456, 12.34559, 12.34561), "12.3 ±0.1"),  # three digits at most
        ((0.5, 0.1, 3), "0 ±1"),
        ((12.3456, 12.3456, 12.3456), "12"),  # the spread is unknown
        ((123456, 123456, 123456), "120000"),
    ],
)
def test_no_more_digits_are_printed_than_the_spread_supports(values, text):
    assert "".join(report.digits(spread([values[1], *values, values[2]]))) == text


def test_the_picture_shows_ratios_to_ours_with_quartiles():
    some = [
        row(SIZE, OURS, "after", 1.0, 1.0, 2.0),
        row(SIZE, "linen", "after", 2.0, 2.0, 2.0),
        row(SIZE, "torch", "after", 1.5, 1.5, 1.5),
    ]
    ax = Figure().subplots()
    figure.draw_measure(some, "train", ax)
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines if "(" in line.get_label()}
    assert drawn == {"linen (after)": [2], "torch (after)": [1.5]}
    (segment,) = ax.collections[0].get_segments()
    assert segment[:, 1].tolist() == [1.5, 2]  # of 2, 2, 1
    assert len(figure.draw(some).axes) == 1


def test_every_contender_has_a_mark_of_its_own_and_a_flag():
    names = [name for name in CONTENDERS | IMAGE_CONTENDERS if name != OURS]
    assert list(get_args(PeerName)) == names
    assert len(set(figure.STYLES.values())) == len(names)
    assert len({marker for _, marker in figure.STYLES.values()}) == len(names)


@pytest.mark.parametrize(("width", "tables"), [(100, 3), (80, 3), (50, 6)])
def test_tables_are_parted_to_fit_the_width(width, tables):
    sizes = [Size(64, 100, 512, 512)._replace(batch=batch) for batch in range(101, 113)]
    some = [
        row(size, name, reset, scale, 1.02 * scale)
        for size, scale in zip(sizes, np.geomspace(9.9e-6, 99, 12), strict=True)
        for name, reset in FORMS
    ]
    text = printed(some, width=width)
    assert "…" not in text
    assert text.count("batch,time,") == tables
    assert max(map(len, text.splitlines())) <= width
