"""Ratios, tables and the figure of the benchmark."""

import json
import platform
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from contenders import FORMS, IMAGES, SIZE, printed, row
from matplotlib.figure import Figure

from gru_jax.app.bench import figure, report, results
from gru_jax.app.bench.contenders import CONTENDERS, OURS
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS
from gru_jax.app.bench.names import FULL_NAMES, PeerName
from gru_jax.app.bench.problem import Size
from gru_jax.app.bench.timing import spread

PICTURED = [
    *((OURS, "before"), (OURS, "after")),
    *(("xla", "before"), ("xla", "after"), ("linen", "after")),
    *(("keras", "before"), ("keras", "after")),
]


def test_a_file_holds_five_digits_of_the_times_and_the_machine():
    result = row(SIZE, OURS, "after", 1.234567e-4, 12.0)
    result = result._replace(differences={"states": 1.234567e-7, "gradients": np.nan})
    text = results.dumps([result], 2)
    (loaded,) = results.loads(text)
    assert loaded.values == {"train": [1.2346e-4, 12.0]}
    assert loaded.differences["states"] == 1.23e-7
    assert np.isnan(loaded.differences["gradients"])
    machine = json.loads(text)["machine"]
    assert machine["platform"].split()[0] == platform.system()
    assert isinstance(machine["processor"], str)
    if (info := Path("/proc/cpuinfo")).exists() and "model name" in info.read_text():
        assert f": {machine['processor']}\n" in info.read_text()


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


def test_the_picture_can_be_read_without_knowing_the_command():
    """One entry for each library, and one for each form, which filled and hollow marks show."""
    some = [row(SIZE, name, reset, 1.0) for name, reset in PICTURED]
    drawn = figure.draw(some)
    libraries, forms = drawn.legends
    texts = [[text.get_text() for text in each.get_texts()] for each in drawn.legends]
    assert texts == [
        ["gru_jax without its kernel (XLA)", "Flax linen", "Keras"],
        ["reset gate before the matrix product", "reset gate after the matrix product"],
    ]
    (ax,) = drawn.axes
    lines = {line.get_label(): line for line in ax.lines if "(" in line.get_label()}
    filled, hollow = (line.get_markerfacecolor() for line in forms.legend_handles)
    assert filled != hollow
    for label, line in lines.items():
        assert (line.get_markerfacecolor() == hollow) == ("(after)" in label)
    keras = libraries.legend_handles[2]
    for label in ("keras (before)", "keras (after)"):
        assert lines[label].get_marker() == keras.get_marker()
        assert lines[label].get_color() == keras.get_color()
    assert [text.get_text() for text in ax.texts] == ["gru_jax"]
    assert ax.texts[0].xy[1] == 1
    assert ax.get_ylabel() == "time, as a multiple of gru_jax's\n(higher is slower)"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (Size(1, 1000, 64, 1), "batch 1, 1000 steps, 64 inputs, 1 unit"),
        (Size(2, 8, 3, 4, resets=True), "batch 2, 8 steps, 3 inputs, 4 units, resets"),
        (Size(1, 2, 3, 4, members=1), "batch 1, 2 steps, 3 inputs, 4 units, 1 member"),
        (Size(1, 2, 3, 4, True, 8), "batch 1, 2 steps, 3 inputs, 4 units, 8 members, resets"),
        (IMAGES, "batch 2, 3 steps, 5 x 4 pixels, 2 inputs, 3 channels"),
    ],
)
def test_the_picture_says_its_sizes_in_words(size, words):
    rows = [row(size, name, "before", 1.0) for name in (OURS, "linen")]
    (ax,) = figure.draw(rows).axes
    (label,) = ax.get_xticklabels()
    assert label.get_text().replace("\n", ", ") == words


def test_a_picture_without_ratios_is_empty():
    assert figure.draw([row(SIZE, OURS, "before", 1.0)]).axes == []


def test_every_contender_has_a_mark_of_its_own_and_a_flag():
    names = [name for name in CONTENDERS | IMAGE_CONTENDERS if name != OURS]
    assert list(get_args(PeerName)) == names
    assert list(FULL_NAMES) == [OURS, *names]
    assert len(set(figure.STYLES.values())) == len(names)
    assert len({marker for _, marker in figure.STYLES.values()}) == len(names)


@pytest.mark.parametrize(("width", "tables"), [(100, 3), (80, 4), (50, 12)])
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
