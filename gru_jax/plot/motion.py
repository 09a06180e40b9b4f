"""The cell at work: the diagram of `step`, step after step."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.animation import AbstractMovieWriter, Animation, FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from gru_jax import files
from gru_jax.plot.diagram import one_sequence, size, step, which
from gru_jax.plot.style import DARK, SHARES, SIGNED
from gru_jax.types import Trace

SECONDS = 0.8
"""Duration of a frame."""


def animation(
    trace: Trace,
    ax: Axes | None = None,
    *,
    units: Sequence[int] | None = None,
    inputs: Sequence[str] | None = None,
) -> FuncAnimation:
    """Animates `step` over the valid steps; below it, update gate and state of the units so far.

    Save it with `save_gif`, or show it in a notebook: `HTML(plot.animation(trace).to_jshtml())`.

    Args:
        trace: of one sequence, `[time, ...]`.
        ax: where to draw, about twice as wide as high.
        units: as in `step`.
        inputs: as in `step`.

    Raises:
        ValueError: as `step` does.
    """
    arrays = one_sequence("animation", trace)
    rows = which(arrays, "animation", units)
    if ax is None:  # Without a layout engine, which would work again for every frame.
        width, height = size(arrays, rows)
        ax = Figure(figsize=(width, height / 0.73)).add_axes((0, 0.07, 1, 0.93))
    ax.set_axis_off()
    diagram = ax.inset_axes((0, 0.22, 1, 0.78))
    strips = []
    for bottom, name, colours, low in ((0.13, "z", SHARES, 0), (0.04, "h", SIGNED, -1)):
        strip = ax.inset_axes((0.05, bottom, 0.94, 0.08))
        values = np.where(arrays.valid[:, None], getattr(arrays, name)[:, rows], np.nan).T
        strip.set_ylabel(f"${name}_t$", rotation=0, ha="right", va="center")
        strip.set(yticks=(), xticks=())
        image = strip.imshow(values, cmap=colours, vmin=low, vmax=1, aspect="auto")
        marker = Rectangle((0, -0.5), 1, len(rows), fill=False, ec=DARK, lw=1.5, clip_on=False)
        strips.append((image, strip.add_patch(marker), values))
    strip.xaxis.set_major_locator(MaxNLocator(integer=True))
    strip.set_xlabel("step")

    def draw(t: int) -> list[Artist]:
        diagram.clear()
        step(arrays, t, diagram, units=rows.tolist(), inputs=inputs)
        for image, marker, values in strips:
            image.set_data(np.where(np.arange(values.shape[1]) <= t, values, np.nan))
            marker.set_x(t - 0.5)
        return []

    frames = np.flatnonzero(arrays.valid).tolist()
    draw(frames[0])
    figure = cast(Figure, ax.get_figure(root=True))
    return FuncAnimation(figure, draw, frames=frames, interval=int(1000 * SECONDS))


def save_gif(
    animation: Animation, path: Path | str, *, dpi: float = 80, seconds: float | None = None
) -> None:
    """Writes an animation as a GIF that repeats, much smaller than with matplotlib's own writer.

    All frames have one palette and are not dithered, so that the file stores only what changes.

    Args:
        animation: from `animation` or `video`, or any other.
        path: of the file; it ends in .gif.
        dpi: pixels in an inch.
        seconds: duration of each frame; None is the animation's own. The last frame stays three
            times as long.

    Raises:
        ValueError: unless the path ends in .gif.
        OSError: if the file cannot be written; an earlier file remains.
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise ValueError(f"save_gif: path must end in .gif, got {path}.")
    own = getattr(animation, "_interval", 1000 * SECONDS) / 1000
    writer = _Frames(own if seconds is None else seconds)
    files.write(path, lambda file: animation.save(file, writer=writer, dpi=dpi))


class _Frames(AbstractMovieWriter):
    """Gathers all frames, then writes them with one palette."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.frames = seconds, []

    def setup(self, fig: Any, outfile: Any, dpi: float | None = None) -> None:
        self.fig, self.outfile, self.dpi = fig, outfile, dpi or fig.dpi

    def grab_frame(self, **options: Any) -> None:
        buffer = io.BytesIO()
        self.fig.savefig(buffer, format="rgba", dpi=self.dpi, **options)
        frame = Image.frombytes("RGBA", self.frame_size, buffer.getvalue())
        self.frames.append(frame.convert("RGB"))

    def finish(self) -> None:
        everything = Image.fromarray(np.concatenate(list(map(np.asarray, self.frames))))
        colours = everything.quantize(256, dither=Image.Dither.NONE).getpalette() or []
        palette = Image.new("P", (1, 1))
        palette.putpalette([255 if part > 248 else part for part in colours])  # White stays white.
        first, *rest = (f.quantize(palette=palette, dither=Image.Dither.NONE) for f in self.frames)
        durations = [1000 * self.seconds] * len(rest) + [3000 * self.seconds]
        first.save(
            self.outfile, "GIF", save_all=True, append_images=rest, duration=durations, loop=0
        )
