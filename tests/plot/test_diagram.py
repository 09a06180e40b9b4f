"""The diagram of a step shows the numbers of the trace."""

import re
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import plot_cases
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from plot_cases import boxes, columns

import gru_jax as gj
from gru_jax import plot
from gru_jax.plot.diagram import BANDS, H_NEXT, KEPT, RH, TAKEN, WIDTH, C, H, R, X, Z
from gru_jax.plot.style import SHARES, SIGNED

TIME, INPUT, HIDDEN = 6, 7, 9


def make_trace(reset="before", hidden=HIDDEN):
    return plot_cases.make_trace(hidden, TIME, channels=INPUT, reset=reset)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_the_numbers_are_those_of_the_step_and_add_up_along_a_row(reset):
    trace, t, units = make_trace(reset), 3, [4, 0, 8]
    ax = plot.step(trace, t, units=units)
    r, z, c, h, before = (
        np.asarray(a)[t, units] for a in (trace.r, trace.z, trace.c, trace.h, trace.h_before)
    )
    inner = r * (before if reset == "before" else np.asarray(trace.q)[t, units])
    want = {X: trace.x[t, :5], H: before, R: r, RH: inner, C: c, Z: z}
    want |= {KEPT: (1 - z) * before, TAKEN: z * c, H_NEXT: h}
    found = columns(ax)
    assert found.keys() == want.keys()
    for x, values in want.items():
        np.testing.assert_allclose(found[x], values, rtol=0, atol=0.005 + 1e-6)
    words = " ".join(text.get_text() for text in ax.texts)
    assert ("q_t" in words) is (reset == "after")
    names = ("step 3", "1  reset gate", "2  candidate", "3  update gate", "4  hidden state")
    places = [next(t for t in ax.texts if t.get_text() == name).get_position()[0] for name in names]
    assert places == sorted(places)
    assert "5 of 7 inputs,\n3 of 9 units" in words


def test_the_colours_are_those_of_the_values():
    trace = make_trace()
    ax = plot.step(trace, 2, units=[1])
    drawn = {p.get_x() + WIDTH / 2: p.get_facecolor() for p in boxes(ax)}
    at = {round(x, 6): colour for x, colour in drawn.items()}
    assert same_color(at[Z], SHARES(float(trace.z[2, 1])))
    assert same_color(at[R], SHARES(float(trace.r[2, 1])))
    assert same_color(at[C], SIGNED((float(trace.c[2, 1]) + 1) / 2))


def test_by_default_units_of_all_speeds_are_shown_the_slowest_at_the_bottom():
    trace = make_trace()
    order = np.argsort(np.asarray(trace.z).mean(0))
    np.testing.assert_allclose(
        columns(plot.step(trace, 0))[Z], trace.z[0, order[::-2]], atol=0.0051
    )
    small = make_trace(hidden=2)
    assert len(columns(plot.step(small, 0))[Z]) == 2


def test_words_grow_and_shrink_with_the_diagram():
    trace = make_trace()
    axes = (plot.step(trace, 0, Figure(figsize=(w, 5)).subplots()) for w in (4, 16))
    sizes = [max(text.get_fontsize() for text in ax.texts) for ax in axes]
    by_height = 5 * 0.77 * (BANDS[-1] - BANDS[0]) / 47.5  # In inches; five rows and the words.
    assert sizes == pytest.approx([13 * 4 * 0.775 / 9, 13 * by_height / 9], rel=1e-3)


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("width", [9, 12])
def test_words_stay_in_their_bands_and_off_each_other(reset, width):
    figure = Figure(figsize=(width, width / 2.4))
    ax = plot.step(make_trace(reset), 3, figure.add_axes((0, 0, 1, 1)), inputs=["value"] * INPUT)
    figure.canvas.draw()
    drawn = [(text, text.get_window_extent()) for text in ax.texts if text.get_text()]
    for (one, box), (other, its) in combinations(drawn, 2):
        assert not box.overlaps(its), (one, other)
    edges = ax.transData.transform([(edge, 0) for edge in BANDS])[:, 0]
    for text, box in drawn:
        band = np.searchsorted(BANDS, text.get_position()[0])
        assert edges[band - 1] < box.x0, text
        assert box.x1 < edges[band], text


@pytest.mark.parametrize(("name", "gates"), [("lstm", "i, f, g, o"), ("min_gru", "z, c")])
def test_cells_with_other_equations_are_refused_by_their_gates(name, gates):
    cell = getattr(gj, name)(4)
    trace = gj.trace(cell, cell.init(jax.random.key(0), 3), jnp.ones((5, 3)))
    message = (
        "trace must be of a GRU, whose equations are drawn, with gates r, z and c, got a cell "
    )
    for function in (lambda: plot.step(trace, 0), lambda: plot.animation(trace)):
        with pytest.raises(ValueError, match=f"{message}with gates {gates}"):
            function()


@pytest.mark.untyped
def test_wrong_input_is_one_clear_error(tmp_path):
    trace = make_trace()
    many = jax.tree.map(lambda a: a[None], trace)
    padding = trace._replace(valid=jnp.zeros(TIME, bool))
    half = trace._replace(valid=jnp.arange(TIME) < 3)
    needed = "[time, hidden]"
    shapes = "{'r': (1, 6, 9), 'z': (1, 6, 9), 'c': (1, 6, 9), 'h': (1, 6, 9)}"
    gif, of = tmp_path / "a.mp4", "units must be one or more of 0 to 8"
    for call, message in (
        (lambda: plot.step(trace, 6), "step: t must be 0 to 5, got 6."),
        (lambda: plot.step(trace, -1), "step: t must be 0 to 5, got -1."),
        (lambda: plot.step(many, 0), f"step: trace must have r, z, c, h {needed}, got {shapes}."),
        (lambda: plot.step(half, 4), "step: t must be 0 to 5, and no padding, got 4."),
        (
            lambda: plot.step(trace._replace(h=trace.h + 0.1), 0),
            "step: trace must have h = (1 - z) h_before + z c, as without zoneout and clip.",
        ),
        (lambda: plot.step((trace,), 0), "step: trace must be a Trace, got a tuple."),
        (lambda: plot.step(trace, 0, inputs="ab"), "step: inputs must be 7 names, got 2."),
        (lambda: plot.step(trace, 0, units=[9]), f"step: {of}, got [9]."),
        (lambda: plot.step(trace, 0, units=[]), f"step: {of}, got []."),
        (lambda: plot.step(padding, 0), "step: trace must have a valid step, got 6 of padding."),
        (lambda: plot.animation(trace, units=[-1]), f"animation: {of}, got [-1]."),
        (lambda: plot.save_gif(None, gif), f"save_gif: path must end in .gif, got {gif}."),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call()
