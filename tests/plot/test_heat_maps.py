"""The heat maps of a trace: what each panel shows, says and is coloured by."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from plot_cases import HIDDEN, HOLES, INPUT, TAPE, TIME, save, with_gates

from gru_jax import plot

SPOILT = with_gates(HOLES, z=jnp.where(HOLES.valid[:, None], HOLES.z, jnp.arange(HIDDEN) * 9.0))


def image(panel):
    (drawn,) = panel.get_images()
    return drawn


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
    panels = plot.gates(with_gates(TAPE, r=None, c=None))
    assert (panels.r, panels.c) == (None, None)
    assert panels.z.get_title(loc="left").startswith("update gate z")
    panels = plot.gates(with_gates(TAPE, z=None))
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
