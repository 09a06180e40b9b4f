"""The cell at work: the diagram of `step`, step after step."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.animation import AbstractMovieWriter, Animation, FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from gru_jax import files
from gru_jax.plot.diagram import one_sequence, size, step, which
from gru_jax.plot.style import DARK, SHARES, SIGNED, lines
from gru_jax.types import ArrayLike, Trace

SECONDS = 0.8
"""Duration of a frame."""

Redraw: TypeAlias = tuple[Callable[[Any], Any], Float[np.ndarray, "*rows time"]]
"""A method that replaces the values of an artist, and all its values."""


def animation(
    trace: Trace,
    ax: Axes | None = None,
    *,
    units: Sequence[int] | None = None,
    inputs: Sequence[str] | None = None,
    series: Mapping[str, Float[ArrayLike, " time"]] | None = None,
) -> FuncAnimation:
    """Animates `step` over the valid steps; below it, update gate and state of the units so far.

    Save it with `save_gif`. In a notebook, `HTML(plot.animation(trace).to_jshtml())` plays it.

    Args:
        trace: of one sequence, `[time, ...]`.
        ax: where to draw, about twice as wide as high; with `series`, 1.6 times.
        units: as in `step`.
        inputs: as in `step`.
        series: by name, to draw so far below the state, e.g. `{"target": ..., "output": ...}`. The
            first is a grey band of steps, the others are dots on a line.

    Raises:
        ValueError: as `step` does, or if a series is not finite numbers `[time]`. Padding is free.
    """
    arrays = one_sequence("animation", trace)
    rows = which(arrays, "animation", units)
    curves = _read_series(series, arrays.valid)
    floor = 0.26 if curves else 0  # The share of the height that the series take.
    if ax is None:  # Without a layout engine, which would work again for every frame.
        width, height = size(arrays, rows)
        ax = Figure(figsize=(width, height / 0.73 / (1 - floor))).add_axes((0, 0.07, 1, 0.93))
    ax.set_axis_off()
    diagram = ax.inset_axes((0, floor + 0.22 * (1 - floor), 1, 0.78 * (1 - floor)))
    shown: list[Redraw] = []
    markers, time = [], len(arrays.h)
    for bottom, name, colours, low in ((0.13, "z", SHARES, 0), (0.04, "h", SIGNED, -1)):
        strip = ax.inset_axes((0.05, floor + bottom * (1 - floor), 0.94, 0.08 * (1 - floor)))
        values = np.where(arrays.valid[:, None], getattr(arrays, name)[:, rows], np.nan).T
        strip.set_ylabel(f"${name}_t$", rotation=0, ha="right", va="center")
        strip.set(yticks=(), xticks=())
        image = strip.imshow(values, cmap=colours, vmin=low, vmax=1, aspect="auto")
        shown.append((image.set_data, values))
        markers.append(_mark(strip, -0.5, len(rows) - 0.5))
    if curves:
        strip = ax.inset_axes((0.05, 0.02, 0.94, floor - 0.06))
        shown += _draw_series(strip, curves)
        markers.append(_mark(strip, *strip.get_ylim()))
    strip.xaxis.set_major_locator(MaxNLocator(integer=True))
    strip.set_xlabel("step")

    def draw(t: int) -> list[Artist]:
        diagram.clear()
        step(arrays, t, diagram, units=rows.tolist(), inputs=inputs)
        for show, values in shown:
            show(np.where(np.arange(time) <= t, values, np.nan))
        for marker in markers:
            marker.set_x(t - 0.5)
        return []

    frames = np.flatnonzero(arrays.valid).tolist()
    draw(frames[0])
    figure = cast(Figure, ax.get_figure(root=True))
    return FuncAnimation(figure, draw, frames=frames, interval=int(1000 * SECONDS))


def _read_series(
    series: Mapping[str, Float[ArrayLike, " time"]] | None, valid: Bool[np.ndarray, " time"]
) -> dict[str, Float[np.ndarray, " time"]]:
    """Returns the series by name, NaN at padding."""
    if not isinstance(series, Mapping | None):
        raise ValueError(
            f"animation: series must be arrays [time] by name, got a {type(series).__name__}."
        )
    curves = {}
    for name, given in (series or {}).items():
        values = np.asarray(given, float)
        if values.shape != valid.shape:
            needed = f"[{len(valid)}], a number for each step"
            raise ValueError(
                f"animation: series[{name!r}] must be {needed}, got {list(values.shape)}."
            )
        if len(bad := np.flatnonzero(valid & ~np.isfinite(values))):
            raise ValueError(
                f"animation: series[{name!r}] must be finite, got {values[bad[0]]} at step "
                f"{bad[0]}."
            )
        curves[name] = np.where(valid, values, np.nan)
    return curves


def _draw_series(strip: Axes, curves: dict[str, Float[np.ndarray, " time"]]) -> list[Redraw]:
    """Draws each series whole."""
    (first, steps), *others = curves.items()
    time, everything = len(steps), list(curves.values())
    edges = np.arange(time + 1) - 0.5
    look = {"baseline": None, "color": "0.65", "linewidth": 5}
    shown: list[Redraw] = [(strip.stairs(steps, edges, label=first, **look).set_data, steps)]
    for (name, values), line in zip(others, lines(), strict=False):
        (curve,) = strip.plot(values, marker="o", markersize=5, linewidth=1.4, label=name, **line)
        shown.append((curve.set_ydata, values))
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    margin = 0.12 * (high - low) or 1.0
    strip.set(xlim=(-0.5, time - 0.5), ylim=(low - margin, high + margin))
    strip.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    strip.grid(axis="y", alpha=0.25)
    strip.legend(loc="lower left", bbox_to_anchor=(0, 0.96), ncols=len(curves), frameon=False)
    return shown


def _mark(strip: Axes, low: float, high: float) -> Rectangle:
    """Draws a frame about one step, from low to high."""
    marker = Rectangle((0, low), 1, high - low, fill=False, ec=DARK, lw=1.5, clip_on=False)
    strip.add_patch(marker)
    return marker


def save_gif(
    animation: Animation,
    path: Path | str,
    *,
    dpi: float = 80,
    seconds: float | None = None,
    poster: bool = False,
) -> None:
    """Writes an animation as a GIF that repeats, much smaller than with matplotlib's own writer.

    All frames have one palette and are not dithered, so that the file stores only what changes.

    Args:
        animation: from `animation` or `video`, or any other.
        path: of the file; it ends in .gif.
        dpi: pixels in an inch.
        seconds: duration of each frame; None is the animation's own. The last frame stays three
            times as long.
        poster: whether the file begins with the last frame, for viewers that show only the first.

    Raises:
        ValueError: unless the path ends in .gif.
        OSError: if the file cannot be written; an earlier file remains.
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise ValueError(f"save_gif: path must end in .gif, got {path}.")
    own = getattr(animation, "_interval", 1000 * SECONDS) / 1000
    writer = _Frames(own if seconds is None else seconds, poster)
    files.write(path, lambda file: animation.save(file, writer=writer, dpi=dpi))


class _Frames(AbstractMovieWriter):
    """Gathers all frames, then writes them with one palette."""

    def __init__(self, seconds: float, poster: bool) -> None:
        super().__init__()
        self.seconds, self.poster, self.frames = seconds, poster, []

    def setup(self, fig: Any, outfile: Any, dpi: float | None = None) -> None:
        self.fig, self.outfile, self.dpi = fig, outfile, dpi or fig.dpi

    def grab_frame(self, **options: Any) -> None:
        buffer = io.BytesIO()
        self.fig.savefig(buffer, format="rgba", dpi=self.dpi, **options)
        frame = Image.frombytes("RGBA", self.frame_size, buffer.getvalue())
        self.frames.append(frame.convert("RGB"))

    def finish(self) -> None:
        everything = Image.fromarray(np.concatenate(list(map(np.asarray, self.frames))))
        # The default method may give up a rare colour for shades of a frequent one.
        method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
        colours = everything.quantize(256, method, dither=dither).getpalette() or []
        palette = Image.new("P", (1, 1))
        palette.putpalette([255 if part > 248 else part for part in colours])  # White stays white.
        frames = [f.quantize(palette=palette, dither=dither) for f in self.frames]
        durations = [1000 * self.seconds] * (len(frames) - 1) + [3000 * self.seconds]
        if self.poster:
            frames, durations = frames[-1:] + frames[:-1], durations[-1:] + durations[:-1]
        first, *rest = frames
        first.save(
            self.outfile, "GIF", save_all=True, append_images=rest, duration=durations, loop=0
        )
