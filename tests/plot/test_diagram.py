"""The diagram of a step, and its animation, show the numbers of the trace."""

import re
from itertools import pairwise

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.animation import AbstractMovieWriter
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from plot_cases import with_gates

import gru_jax as gj
from gru_jax import plot
from gru_jax.plot.diagram import H_NEXT, HEIGHT, KEPT, RH, TAKEN, WIDTH, C, H, R, X, Z
from gru_jax.plot.style import SHARES, SIGNED

TIME, INPUT, HIDDEN = 6, 7, 9


def make_trace(reset="before", hidden=HIDDEN):
    cell = gj.gru(hidden, reset=reset)
    key, key_b, key_x = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key, INPUT)
    params = params._replace(b_z=jax.random.normal(key_b, (hidden,)) - 1)
    return gj.trace(cell, params, jax.random.normal(key_x, (TIME, INPUT)))


def columns(ax):
    """The numbers of each column of cells, from top to bottom, by where it stands."""
    found = {}
    for text in sorted(ax.texts, key=lambda text: -text.get_position()[1]):
        x, y = text.get_position()
        cell = [
            p for p in boxes(ax) if p.get_xy() == pytest.approx((x - WIDTH / 2, y - HEIGHT / 2))
        ]
        if cell:
            found.setdefault(x, []).append(float(text.get_text().replace("\N{MINUS SIGN}", "-")))
    return found


def boxes(ax):
    size = (WIDTH, HEIGHT)
    patches = (p for p in ax.patches if isinstance(p, Rectangle))
    return [p for p in patches if (p.get_width(), p.get_height()) == pytest.approx(size)]


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


@pytest.mark.slow("draws an animation")
def test_the_animation_draws_each_step_into_the_axes_given_and_is_saved_whole(tmp_path):
    trace, before = make_trace(), plt.get_fignums()
    ax = Figure(figsize=(6, 3)).subplots()
    moving = plot.animation(trace, ax)
    path = tmp_path / "cell.gif"
    plot.save_gif(moving, path, dpi=50, seconds=0.5)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size) == (TIME, (300, 150))
        assert (gif.info["duration"], gif.info["loop"]) == (500, 0)
        assert gif.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
        frames = [np.asarray(gif.convert("L")) for i in range(TIME) if not gif.seek(i)]
    assert all((a != b).any() for a, b in pairwise(frames))
    assert [path.name for path in tmp_path.iterdir()] == ["cell.gif"]
    diagram, *strips = ax.child_axes
    assert columns(diagram) == columns(plot.step(trace, TIME - 1))
    order = np.argsort(np.asarray(trace.z).mean(0))[::-2]
    for strip, values in zip(strips, (trace.z, trace.h), strict=True):
        np.testing.assert_array_equal(strip.get_images()[0].get_array(), values[:, order].T)
    assert plt.get_fignums() == before


def test_what_is_yet_to_come_is_not_shown(tmp_path):
    trace, shown = make_trace(), []
    ax = Figure().subplots()
    moving = plot.animation(trace, ax)

    class Recorder(AbstractMovieWriter):
        def setup(self, fig, outfile, dpi=None):
            pass

        def grab_frame(self, **_):
            strip = ax.child_axes[2]
            steps = np.flatnonzero(~np.ma.getmaskarray(strip.get_images()[0].get_array())[0])
            shown.append((steps.tolist(), strip.patches[0].get_x() + 0.5))

        def finish(self):
            pass

    moving.save(tmp_path / "none", writer=Recorder())
    assert shown == [(list(range(t + 1)), t) for t in range(TIME)]


@pytest.mark.slow("draws an animation")
def test_the_colours_of_an_early_frame_are_in_the_file(tmp_path):
    """All frames share 256 colours; none may lose its own to them."""
    trace = make_trace()
    values = np.linspace(-1, 1, TIME)[:, None]
    c = jnp.asarray(np.broadcast_to(values, trace.h.shape))
    z = jnp.asarray((np.broadcast_to(values, trace.h.shape) + 1) / 2)
    trace = with_gates(trace, c=c, z=z)._replace(h=(1 - z) * trace.h_before + z * c)
    ax = Figure(figsize=(12, 6)).add_axes((0, 0.07, 1, 0.93))
    moving = plot.animation(trace, ax, units=[0])
    plot.save_gif(moving, tmp_path / "cell.gif", dpi=50)
    with Image.open(tmp_path / "cell.gif") as gif:
        for t in range(TIME):
            gif.seek(t)
            frame = np.asarray(gif.convert("RGB"), int)
            for colour in (SIGNED((values[t, 0] + 1) / 2), SHARES((values[t, 0] + 1) / 2)):
                want = 255 * np.array(colour[:3])
                off = np.abs(frame - want).max(-1)
                assert (off < 8).sum() > 250  # a cell is about 29 by 17 pixels, with a number on it


def test_padding_is_no_frame_and_its_place_stays_white(tmp_path):
    trace = make_trace()
    trace = trace._replace(valid=jnp.array([1, 1, 0, 1, 0, 0], bool))
    ax = Figure(figsize=(6, 3)).subplots()
    plot.save_gif(plot.animation(trace, ax, inputs="abcdefg"), tmp_path / "cell.gif")
    with Image.open(tmp_path / "cell.gif") as gif:
        assert gif.n_frames == 3
    shown = ax.child_axes[2].get_images()[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown)[0], [0, 0, 1, 0, 1, 1])
    words = {text.get_text() for text in ax.child_axes[0].texts}
    assert {"step 3", "a", "e"} <= words
    assert "f" not in words


def test_in_small_axes_words_shrink():
    trace = make_trace()
    small, large = (plot.step(trace, 0, Figure(figsize=(w, 5)).subplots()) for w in (4, 16))
    sizes = [max(text.get_fontsize() for text in ax.texts) for ax in (small, large)]
    assert sizes == pytest.approx([13 * 4 * 0.775 / 9, 13], rel=1e-3)


@pytest.mark.slow("draws an animation")
def test_it_plays_in_a_notebook():
    moving = plot.animation(make_trace(), Figure(figsize=(2, 1)).subplots())
    assert moving.to_jshtml().count("data:image/png") == TIME


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "cell.gif"
    path.write_bytes(b"before")
    moving = plot.animation(make_trace(), Figure(figsize=(2, 1)).subplots())

    class Broken(Exception):
        pass

    def fail(file, **_):
        file.write_bytes(b"half")
        raise Broken

    moving.save = fail
    with pytest.raises(OSError, match=r"cell\.gif must be written whole"):
        plot.save_gif(moving, path)
    assert path.read_bytes() == b"before"
    moving._draw_was_started = True  # matplotlib warns of animations that were never drawn.


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
