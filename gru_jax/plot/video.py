"""Images that change in time, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from gru_jax.plot.style import SHARES

SECONDS = 0.25
"""Duration of a frame."""


def video(
    panels: Mapping[str, Shaped[np.ndarray, "time height width"]],
    *,
    columns: int = 4,
    labels: Sequence[str] | None = None,
) -> FuncAnimation:
    """Animates images side by side, each with its name above.

    Dark is 0 and light is 1, as for gates. All images are drawn at one size, so that coarse gates
    line up with the frames. Save the animation with `save_gif`.

    Args:
        panels: the images by name; all have the same number of steps. A step of NaN is blank.
        columns: images in a row.
        labels: a line of text for each step, below the images.

    Raises:
        ValueError: if there is no image, or one is not `[time, height, width]`, or steps or
            labels differ in number.
    """
    arrays = {name: np.asarray(images, float) for name, images in panels.items()}
    shapes = {name: images.shape for name, images in arrays.items()}
    times = {shape[0] for shape in shapes.values() if len(shape) == 3 and all(shape)}
    if len(times) != 1 or any(len(shape) != 3 or not all(shape) for shape in shapes.values()):
        raise ValueError(
            "video: panels must be images [time, height, width] with the same number of steps, "
            f"got {shapes}."
        )
    (time,) = times
    if labels is not None and len(labels) != time:
        raise ValueError(
            f"video: labels must have length {time}, one for each step, got {len(labels)}."
        )
    if columns < 1:
        raise ValueError(f"video: columns must be 1 or more, got {columns}.")
    columns = min(columns, len(arrays))
    rows = -(-len(arrays) // columns)
    _, high, wide = next(iter(shapes.values()))
    width, height = 2.2, 2.2 * high / wide + 0.3
    figure = Figure(figsize=(width * columns, height * rows + 0.3))
    bottom, top = 0.3 / (height * rows + 0.3), 1 - 0.3 / (height * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.subplots_adjust(0.02, bottom, 0.98, top, 0.06, 0.3 / height)
    label = figure.text(0.5, bottom / 2, "", ha="center", va="center", fontsize=10)
    pictures = []
    for ax, (name, images) in zip(axes, arrays.items(), strict=False):
        ax.set_title(name, fontsize=10, pad=4)
        pictures.append(ax.imshow(images[0], SHARES, vmin=0, vmax=1, interpolation="nearest"))
    for ax in axes:
        ax.set_axis_off()

    def draw(t: int) -> list[Artist]:
        for picture, images in zip(pictures, arrays.values(), strict=True):
            picture.set_data(images[t])
        label.set_text(labels[t] if labels else f"step {t}")
        return [*pictures, label]

    draw(0)
    return FuncAnimation(figure, draw, frames=time, interval=int(1000 * SECONDS))
