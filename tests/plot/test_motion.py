"""The animation draws each step, what came before it, and nothing that comes after it."""

from itertools import pairwise

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import plot_cases
import pytest
from matplotlib.animation import AbstractMovieWriter
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image
from plot_cases import columns, with_gates
from refusals import refused

from gru_jax import plot
from gru_jax.plot.style import SHARES, SIGNED

TIME, INPUT, HIDDEN = 6, 7, 9
TARGET, OUTPUT, THIRD = np.random.default_rng(0).normal(size=(3, TIME))


def make_trace():
    return plot_cases.make_trace(HIDDEN, TIME, channels=INPUT)


def draw(moving, t):
    """Draws one frame of an animation that is not saved."""
    moving._func(t)
    moving._draw_was_started = True  # matplotlib warns of animations that were never drawn.


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


@pytest.mark.parametrize("t", [0, 2, TIME - 1])
def test_series_are_drawn_up_to_the_step_each_with_its_own_name_and_look(t):
    ax = Figure(figsize=(9, 5.4)).subplots()
    series = {"target": TARGET, "output": OUTPUT, "third": jnp.asarray(THIRD)}
    draw(plot.animation(make_trace(), ax, series=series), t)
    _, _, state, strip = ax.child_axes
    (steps,) = (patch for patch in strip.patches if isinstance(patch, StepPatch))
    curves = strip.get_lines()
    so_far = np.arange(TIME) <= t
    np.testing.assert_array_equal(steps.get_data().values, np.where(so_far, TARGET, np.nan))
    np.testing.assert_array_equal(steps.get_data().edges, np.arange(TIME + 1) - 0.5)
    for curve, values in zip(curves, (OUTPUT, THIRD), strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), np.arange(TIME))
        np.testing.assert_allclose(curve.get_ydata(), np.where(so_far, values, np.nan), 1e-6)
        assert curve.get_marker() == "o"
    assert len({curve.get_color() for curve in curves}) == 2
    assert len({curve.get_linestyle() for curve in curves}) == 2
    assert [text.get_text() for text in strip.get_legend().get_texts()] == [*series]
    assert strip.get_xlim() == state.get_xlim() == (-0.5, TIME - 0.5)
    low, high = strip.get_ylim()
    everything = np.stack([TARGET, OUTPUT, THIRD])
    assert low < everything.min() < everything.max() < high
    marker = next(patch for patch in strip.patches if patch is not steps)
    assert (marker.get_x(), marker.get_width()) == (t - 0.5, 1)
    assert (strip.get_xlabel(), state.get_xlabel(), len(state.get_xticks())) == ("step", "", 0)


def test_the_strips_and_their_words_stay_off_each_other():
    moving = plot.animation(make_trace(), series={"target": TARGET, "output": OUTPUT})
    draw(moving, TIME - 1)
    (ax,), figure = moving._fig.axes, moving._fig
    figure.canvas.draw()
    *boxes, last = [child.get_tightbbox() for child in ax.child_axes[1:]]
    assert not any(box.overlaps(last) for box in boxes)
    assert last.y1 < boxes[-1].y0
    assert last.y0 > 0
    assert last.x0 > 0


@pytest.mark.parametrize("series", [None, {}])
def test_without_series_there_is_no_strip_for_them(series):
    ax = Figure(figsize=(6, 3)).subplots()
    draw(plot.animation(make_trace(), ax, series=series), 0)
    heights = [child.get_position().height / ax.get_position().height for child in ax.child_axes]
    assert heights[1:] == pytest.approx([0.08, 0.08])
    assert ax.child_axes[-1].get_xlabel() == "step"


def test_a_series_may_be_anything_at_padding():
    trace = make_trace()._replace(valid=jnp.array([1, 1, 0, 1, 0, 0], bool))
    ax = Figure(figsize=(6, 4)).subplots()
    target, output = np.array([[1, 2, np.nan, 3, 9e9, np.inf], [5, 5, np.nan, 5, 0, 0]])
    draw(plot.animation(trace, ax, series={"target": target, "output": output}), 3)
    strip = ax.child_axes[-1]
    steps = next(patch for patch in strip.patches if isinstance(patch, StepPatch))
    np.testing.assert_array_equal(steps.get_data().values, [1, 2, np.nan, 3, np.nan, np.nan])
    (curve,) = strip.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), [5, 5, np.nan, 5, np.nan, np.nan])
    assert strip.get_ylim() == pytest.approx((1 - 0.48, 5 + 0.48))


def test_equal_numbers_are_drawn_without_a_warning():
    moving = plot.animation(make_trace(), series={"zeros": np.zeros(TIME)})
    draw(moving, 1)
    assert moving._fig.axes[0].child_axes[-1].get_ylim() == (-1, 1)


@pytest.mark.untyped
def test_series_that_do_not_fit_are_refused():
    nan = np.where(np.arange(TIME) == 3, np.nan, OUTPUT)
    for series, message in (
        ({"y": OUTPUT[1:]}, "series['y'] must be [6], a number for each step, got [5]."),
        ({"y": OUTPUT[:, None]}, "series['y'] must be [6], a number for each step, got [6, 1]."),
        ({"a": TARGET, "y": nan}, "series['y'] must be finite, got nan at step 3."),
        (OUTPUT, "series must be arrays [time] by name, got a ndarray."),
    ):
        with refused(f"animation: {message}"):
            plot.animation(make_trace(), series=series)


def test_with_a_poster_the_last_frame_comes_first_and_stays_longest(tmp_path):
    frames, trace = {}, plot_cases.make_trace(time=3)
    for poster in (False, True):
        path = tmp_path / f"{poster}.gif"
        moving = plot.animation(trace, Figure(figsize=(2, 1)).subplots())
        plot.save_gif(moving, path, dpi=50, seconds=0.1, poster=poster)
        with Image.open(path) as gif:
            frames[poster] = [
                (np.asarray(gif.convert("RGB")).tolist(), gif.info["duration"])
                for i in range(3)
                if not gif.seek(i)
            ]
    assert frames[True] == frames[False][-1:] + frames[False][:-1]
    assert [duration for _, duration in frames[True]] == [300, 100, 100]
