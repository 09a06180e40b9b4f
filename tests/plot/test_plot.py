"""What is drawn is what was given, in the axes that were given, and nothing else is touched."""

import io
import warnings
from itertools import pairwise

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import gru_jax as gj
from gru_jax import plot

TIME, INPUT, HIDDEN = 20, 3, 7


def make_trace(hidden=HIDDEN, time=TIME, mask=None):
    cell = gj.gru(hidden)
    key, key_b, key_x = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key, INPUT)
    params = params._replace(b_z=jax.random.normal(key_b, (hidden,)) - 1)
    return gj.trace(cell, params, jax.random.normal(key_x, (time, INPUT)), mask=mask)


TAPE = make_trace()
HOLES = make_trace(mask=np.isin(np.arange(TIME), (0, 7, 18, 19), invert=True))
SPOILT = HOLES._replace(z=jnp.where(HOLES.valid[:, None], HOLES.z, jnp.arange(HIDDEN) * 9.0))
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


def save(figure):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(file, format="png")
    return file.getvalue()


def image(panel):
    (drawn,) = panel.get_images()
    return drawn


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


@pytest.mark.parametrize("trace", [TAPE, HOLES, SPOILT], ids=["whole", "padding", "spoilt"])
def test_the_heat_maps_show_the_trace_with_the_slowest_unit_at_the_bottom(trace):
    panels = plot.gates(trace)
    valid = np.asarray(trace.valid)
    order = np.argsort(np.asarray(trace.z)[valid].mean(0))
    for name, panel in panels._asdict().items():
        values = np.asarray(getattr(trace, name))
        values = values if name == "x" else values[:, order]
        shown = image(panel).get_array()
        np.testing.assert_array_equal(shown[:, valid], values[valid].T)
        assert np.ma.getmaskarray(shown)[:, ~valid].all()
        assert not np.ma.getmaskarray(shown)[:, valid].any()
        assert image(panel).origin == "lower"
        assert image(panel).get_extent() == [-0.5, TIME - 0.5, -0.5, values.shape[1] - 0.5]
        label = panel.yaxis.get_major_formatter()
        rows = range(INPUT) if name == "x" else order
        assert [label(row) for row in range(len(rows))] == [str(row) for row in rows]
        assert [label(row) for row in (-1, 0.5, len(rows))] == ["", "", ""]


def test_the_panels_share_their_time_and_stand_in_one_column():
    panels = plot.gates(TAPE)
    save(panels.x.figure)
    boxes = [panel.get_window_extent() for panel in panels]
    for above, below in pairwise(boxes):
        assert above.y0 > below.y1
        assert (above.x0, above.x1) == pytest.approx((below.x0, below.x1))
    panels.r.set_xlim(3, 5)
    assert {panel.get_xlim() for panel in panels} == {(3, 5)}


def test_a_panel_says_what_it_shows():
    panels = plot.gates(HOLES)
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles[2] == "update gate z: 0 keeps the old state, 1 takes the candidate"
    assert [title.split(":")[0][-1] for title in titles] == ["x", "r", "z", "c", "h"]
    labels = [panel.get_ylabel() for panel in panels]
    assert labels == ["channel", "", "unit, slowest at the bottom", "", ""]
    assert panels.h.get_xlabel() == "step (hatched: padding)"
    assert panels.z.patch.get_hatch()
    whole = plot.gates(TAPE, inputs=("a", "b", "c"))
    assert whole.h.get_xlabel() == "step"
    assert not whole.z.patch.get_hatch()
    assert [text.get_text() for text in whole.x.get_yticklabels()] == ["a", "b", "c"]


def test_colours_mean_the_same_in_every_figure():
    ax = Figure().subplots()
    panels = plot.gates(TAPE, ax)
    ranges = {name: image(panel).get_clim() for name, panel in panels._asdict().items()}
    x, h = (float(np.abs(a).max()) for a in (TAPE.x, TAPE.h))
    assert ranges == {"x": (-x, x), "r": (0, 1), "z": (0, 1), "c": (-1, 1), "h": (-h, h)}
    for name in "rz":
        assert image(getattr(panels, name)).get_cmap().name == "shares"
    for name in "xch":
        assert image(getattr(panels, name)).get_cmap().name == "signed"
    bars = {child.get_title(): child.get_ylim() for child in ax.child_axes if child.get_title()}
    assert bars == {f"${name}_t$": both for name, both in ranges.items()}


def test_one_input_that_is_far_off_does_not_take_the_colours():
    xs = np.asarray(TAPE.x).copy()
    xs[4, 1] = -1e6
    panels = plot.gates(TAPE._replace(x=jnp.asarray(xs)))
    high = np.percentile(np.abs(xs), 99)
    assert image(panels.x).get_clim() == pytest.approx((-high, high))
    ends = [image(panel).colorbar.extend for panel in panels]
    assert ends == ["both", "neither", "neither", "neither", "neither"]
    big = plot.gates(TAPE._replace(h=3 * TAPE.h / jnp.abs(TAPE.h).max()))
    assert image(big.h).get_clim() == pytest.approx((-3, 3))
    none = plot.gates(TAPE._replace(x=0 * TAPE.x))
    assert image(none.x).get_clim() == (-1, 1)


def test_a_gate_that_the_cell_does_not_have_has_no_panel():
    panels = plot.gates(TAPE._replace(r=None, c=None))
    assert (panels.r, panels.c) == (None, None)
    assert panels.z.get_title(loc="left").startswith("update gate z")
    panels = plot.gates(TAPE._replace(z=None))
    np.testing.assert_array_equal(image(panels.h).get_array(), np.asarray(TAPE.h).T)
    assert "slowest" not in "".join(panel.get_ylabel() for panel in panels if panel)


@pytest.mark.parametrize(
    "layout",
    [None, pytest.param("constrained", marks=pytest.mark.slow("lays out 7 figures"))],
)
def test_titles_fit_panels_of_any_width(layout):
    titles = []
    for inches in np.linspace(2, 8, 7):
        panels = plot.gates(TAPE, Figure((inches, 8), layout=layout).subplots())
        save(panels.x.figure)
        for panel in panels:
            (title,) = (
                text
                for text in panel.findobj(Text)
                if text.get_text() == panel.get_title(loc="left")
            )
            assert title.get_window_extent().x1 <= panel.get_window_extent().x1 + 8  # the gap
        titles.append(panels.z.get_title(loc="left"))
    assert (titles[0], titles[-1]) == ("update gate z", plot.gates(TAPE).z.get_title(loc="left"))


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
        ylabel="position (m)",
    )
    lines = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["truth"], np.stack([np.arange(30), SERIES], 1))
    np.testing.assert_array_equal(lines["prediction"], np.stack([np.arange(20, 30), prediction], 1))
    assert lines["forecast begins"][:, 0].tolist() == [19.5, 19.5]
    (band,) = ax.collections
    assert band.get_label() == "90 % interval"
    edges = np.concatenate([np.stack([np.arange(20, 30), prediction + d], 1) for d in (-1, 2)])
    assert {tuple(v) for v in edges} <= {tuple(v) for v in band.get_paths()[0].vertices}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "position (m)")
    assert len(plot.forecast(SERIES, SERIES).get_lines()) == 2


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
            "gates: trace.h must be [time, features] of one sequence, got tuple.",
        ),
        (
            lambda: plot.gates(TAPE._replace(z=TAPE.z[1:])),
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
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        draw()
    assert str(error.value) == message
