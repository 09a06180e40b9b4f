"""What is drawn is what was given, in the axes that were given, and nothing else is touched."""

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from plot_cases import HOLES, TAPE, TIME, make_trace, save, with_gates
from refusals import refused

import gru_jax as gj
from gru_jax import plot

ROWS = [
    {"epoch": 1, "loss": 2.0, "validation_loss": 2.5, "accuracy": 0.3},
    {"epoch": 2, "loss": 1.0, "validation_loss": 1.5, "accuracy": 0.6},
]
SERIES = np.sin(np.arange(30) / 3)

DRAWN = {
    "gates": lambda ax=None: plot.gates(TAPE, ax).x,
    "gates-padding": lambda ax=None: plot.gates(HOLES, ax, inputs=("a", "b", "c")).x,
    "gates-large": lambda ax=None: plot.gates(make_trace(256, 600), ax).x,
    "gates-one-step": lambda ax=None: plot.gates(make_trace(1, 1), ax).x,
    "timescales": lambda ax=None: plot.timescales(gj.timescales(TAPE), ax),
    "timescales-all-infinite": lambda ax=None: plot.timescales(np.full(4, np.inf), ax),
    "timescales-all-equal": lambda ax=None: plot.timescales(np.full(4, 3.0), ax),
    "gradient-flow": lambda ax=None: plot.gradient_flow(np.geomspace(1e-9, 1, 30), ax),
    "gradient-flow-all-zero": lambda ax=None: plot.gradient_flow(np.zeros(4), ax),
    "forecast": lambda ax=None: plot.forecast(SERIES, SERIES[10:], ax, start=10),
    "learning-curves": lambda ax=None: plot.learning_curves(ROWS, "loss", ax),
    "confusion-matrix": lambda ax=None: plot.confusion_matrix(
        np.eye(26, dtype=int), [f"class {i}" for i in range(26)], ax
    ),
}
"""Every function, by default and at its edges."""

every_figure = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


@every_figure
def test_a_new_figure_is_drawn_without_warnings_and_pyplot_knows_nothing_of_it(draw):
    settings, numbers = dict(mpl.rcParams), plt.get_fignums()
    assert save(draw().figure).startswith(b"\x89PNG")
    assert (dict(mpl.rcParams), plt.get_fignums()) == (settings, numbers)


@every_figure
def test_given_axes_in_a_grid_are_drawn_into_and_stay_clear_of_the_others(draw):
    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.add_subfigure(figure.add_gridspec(1, 1)[0]).subplots(2, 2)
    drawn = draw(axes[0, 0])
    if drawn is not axes[0, 0]:
        assert drawn in axes[0, 0].child_axes
        assert not axes[0, 0].axison
    assert save(figure)
    boxes = [ax.get_tightbbox() for ax in axes.flat]
    assert not any(boxes[0].overlaps(box) for box in boxes[1:])
    assert boxes[0].x0 >= 0
    assert boxes[0].y1 <= figure.bbox.y1
    assert not any(ax.has_data() for ax in axes.flat[1:])


@pytest.mark.parametrize("some", [np.array([0.5, 2, 2, 40, np.inf, 0, np.inf]), np.array([7.0])])
def test_the_histogram_counts_each_unit_once(some):
    (drawn,) = plot.timescales(some).patches
    counts, edges, _ = drawn.get_data()
    finite = some[np.isfinite(some) & (some > 0)]
    np.testing.assert_array_equal(counts, np.histogram(finite, edges)[0])
    assert counts.sum() == len(finite)
    assert edges[0] < edges[1]
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


def test_timescales_that_a_log_axis_cannot_show_are_counted():
    ax = plot.timescales(np.array([0.5, np.inf, 0, np.inf]))
    assert ax.get_xlabel() == "memory timescale (steps)\n1 zero, 2 infinite, not shown"
    assert (ax.get_xscale(), ax.get_ylabel()) == ("log", "units")
    assert plot.timescales(np.ones(3)).get_xlabel() == "memory timescale (steps)"


def test_distributions_share_their_bins_and_differ_in_dash_and_colour():
    both = {"a": np.array([1.0, 2, 3]), "b": np.array([5.0, 100, np.inf])}
    ax = plot.timescales(both)
    a, b = ax.patches
    np.testing.assert_array_equal(a.get_data().edges, b.get_data().edges)
    assert [patch.get_data().values.sum() for patch in (a, b)] == [3, 2]
    assert a.get_linestyle() != b.get_linestyle()
    assert a.get_edgecolor() != b.get_edgecolor()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.get_xlabel().endswith("\nb: 1 infinite, not shown")


def test_gradient_norms_are_drawn_over_time_and_zeros_are_gaps():
    norms = np.array([0, 1e-4, 0, 1e-2, 1e-1, 1])
    ax = plot.gradient_flow({"one": norms, "two": np.ones(4)})
    one, two = ax.get_lines()
    np.testing.assert_array_equal(one.get_xdata(), np.arange(6))
    np.testing.assert_array_equal(one.get_ydata(), np.where(norms > 0, norms, np.nan))
    assert one.get_markevery() == [1]  # which has no neighbour that a line could go to
    assert one.get_linestyle() != two.get_linestyle()
    assert (one.get_label(), two.get_label(), ax.get_yscale()) == ("one", "two", "log")
    assert ax.get_xlabel() == "step\none: 2 zero, not shown"
    assert ax.get_ylabel() == "$|dL/dh_t|$ (loss per unit of state)"


def test_a_forecast_begins_where_it_begins():
    prediction = SERIES[20:] + 0.1
    ax = plot.forecast(
        SERIES,
        prediction,
        start=20,
        lower=prediction - 1,
        upper=prediction + 2,
        band="90 % interval",
        others={"last value": SERIES[:10]},
        ylabel="position (m)",
    )
    lines = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["truth"], np.stack([np.arange(30), SERIES], 1))
    np.testing.assert_array_equal(lines["prediction"], np.stack([np.arange(20, 30), prediction], 1))
    np.testing.assert_array_equal(
        lines["last value"], np.stack([np.arange(20, 30), SERIES[:10]], 1)
    )
    assert lines["forecast begins"][:, 0].tolist() == [19.5, 19.5]
    (band,) = ax.collections
    assert band.get_label() == "90 % interval"
    edges = np.concatenate([np.stack([np.arange(20, 30), prediction + d], 1) for d in (-1, 2)])
    assert {tuple(v) for v in edges} <= {tuple(v) for v in band.get_paths()[0].vertices}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "position (m)")
    assert len(plot.forecast(SERIES, SERIES).get_lines()) == 2


def test_a_forecast_has_times_on_its_axis():
    times = np.arange("2024-02-01", "2024-03-12", dtype="datetime64[D]")
    ax = plot.forecast(SERIES, SERIES[:20], start=20, times=times)
    lines = {line.get_label(): line.get_xdata() for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["truth"], times[:30])
    np.testing.assert_array_equal(lines["prediction"], times[20:])
    assert lines["forecast begins"][0] == np.datetime64("2024-02-20T12")
    ax.figure.draw_without_rendering()
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert {"Feb", "Mar"} < set(ticks), ticks
    assert (ax.get_xlabel(), ax.xaxis.get_offset_text().get_text()) == ("time", "2024-Mar")
    (line, *_) = plot.forecast(SERIES, SERIES, times=np.arange(5, 35)).get_lines()
    np.testing.assert_array_equal(line.get_xdata(), np.arange(5, 35))


def test_learning_curves_show_the_rows():
    ax = plot.learning_curves(ROWS, "loss")
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert drawn == {"training": [[1, 2.0], [2, 1.0]], "validation": [[1, 2.5], [2, 1.5]]}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    (alone,) = plot.learning_curves(ROWS, "accuracy").get_lines()
    assert alone.get_label() == "training"
    (one,) = plot.learning_curves(ROWS[:1], "accuracy").get_lines()
    assert one.get_marker() == "."


def test_the_confusion_matrix_has_labels_in_rows():
    ax = plot.confusion_matrix(np.array([[8, 2], [0, 5]]), ["a", "b"])
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {(0, 0): "8", (1, 0): "2", (1, 1): "5"}
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[0.8, 0.2], [0, 1]])


def test_the_numbers_of_a_large_confusion_matrix_stay_in_their_cells():
    ax = plot.confusion_matrix(np.full((26, 26), 123), list("abcdefghijklmnopqrstuvwxyz"))
    save(ax.figure)
    cell = ax.get_window_extent().width / 26
    assert max(text.get_window_extent().width for text in ax.texts) < cell


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: plot.gates(jax.tree.map(lambda a: a[None], TAPE)),
            "gates: trace.x must be [time, features] of one sequence, got (1, 20, 3).",
        ),
        (
            lambda: plot.gates(TAPE._replace(h=(TAPE.h, TAPE.h))),
            "gates: trace.h must be an array, as a GRU's, got a tuple: draw trace.gates and the "
            "parts of the state one by one.",
        ),
        (
            lambda: plot.gates(with_gates(TAPE, z=TAPE.z[1:])),
            "gates: trace.z must be [time, features] of one sequence, got (19, 7).",
        ),
        (
            lambda: plot.gates(make_trace(mask=np.zeros(TIME, bool))),
            "gates: trace must have a valid step, got 20 of padding.",
        ),
        (
            lambda: plot.gates(TAPE, inputs=["a"]),
            "gates: inputs must be 3 names, got 1.",
        ),
        (
            lambda: plot.timescales(np.ones((2, 3))),
            "timescales: values must be [hidden], got (2, 3).",
        ),
        (
            lambda: plot.gradient_flow({"a": np.ones(2), "b": np.ones((2, 3))}),
            "gradient_flow: norms['b'] must be [time], got (2, 3).",
        ),
        (
            lambda: plot.forecast(SERIES[None], SERIES),
            "forecast: truth must be [time], got (1, 30).",
        ),
        (
            lambda: plot.forecast(SERIES, SERIES, start=31),
            "forecast: start must be 0 <= start <= 30, got 31.",
        ),
        (
            lambda: plot.forecast(SERIES, SERIES[:9], start=25, times=SERIES),
            "forecast: times must be [34] of datetime64 or numbers, one for each step, "
            "got (30,) of float64.",
        ),
        (
            lambda: plot.forecast(SERIES, SERIES[:9], others={"last value": SERIES}),
            "forecast: last value must be (9,) to match prediction, got (30,).",
        ),
        (
            lambda: plot.forecast(SERIES, SERIES, lower=SERIES),
            "forecast: lower and upper must come together, got no upper.",
        ),
        (
            lambda: plot.forecast(SERIES, SERIES[:9], lower=SERIES, upper=SERIES[:9]),
            "forecast: lower must be (9,) to match prediction, got (30,).",
        ),
        (
            lambda: plot.learning_curves(ROWS, "f1"),
            "learning_curves: name must be a metric of the rows "
            "(epoch, loss, validation_loss, accuracy), got 'f1'.",
        ),
        (
            lambda: plot.learning_curves([]),
            "learning_curves: name must be a metric of the rows (no rows), got 'loss'.",
        ),
        (
            lambda: plot.confusion_matrix(np.eye(3, dtype=int), ["a", "b"]),
            "confusion_matrix: counts must be (2, 2) to match names, got (3, 3).",
        ),
    ],
)
def test_wrong_input_is_one_clear_error(draw, message):
    with refused(message):
        draw()
