"""A series and its prediction."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from gru_jax.plot.style import BLACK, BLUE, GREEN, ORANGE, new_axes, open_frame, whole_numbers
from gru_jax.types import ArrayLike


def forecast(
    truth: Float[ArrayLike, " time"],
    prediction: Float[ArrayLike, " steps"],
    ax: Axes | None = None,
    *,
    start: int = 0,
    lower: Float[ArrayLike, " steps"] | None = None,
    upper: Float[ArrayLike, " steps"] | None = None,
    band: str = "band",
    others: Mapping[str, Float[ArrayLike, " steps"]] | None = None,
    ylabel: str = "value",
) -> Axes:
    """Draws a series and its prediction from step `start` on.

    Args:
        truth: the series.
        prediction: of the steps `start`, `start` + 1, ...; it may go on after the series ends.
        ax: where to draw.
        start: the first predicted step; a line stands before it, unless it is 0.
        lower: the lower edge of a band about the prediction.
        upper: the upper one.
        band: name of the band, e.g. "80 % interval".
        others: more predictions of the same steps, by their names in the legend.
        ylabel: name of the series, with its unit.

    Raises:
        ValueError: if shapes do not fit, or one edge of the band is missing.
    """
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    for name, values in (("truth", truth), ("prediction", prediction)):
        if values.ndim != 1:
            raise ValueError(f"forecast: {name} must be [time], got {values.shape}.")
    others = others or {}
    for name, edge in {"lower": lower, "upper": upper, **others}.items():
        if edge is not None and (shape := np.shape(edge)) != prediction.shape:
            needed = f"{prediction.shape} to match prediction"
            raise ValueError(f"forecast: {name} must be {needed}, got {shape}.")
    if (lower is None) != (upper is None):
        missing = "lower" if lower is None else "upper"
        raise ValueError(f"forecast: lower and upper must come together, got no {missing}.")
    if not 0 <= start <= len(truth):
        raise ValueError(f"forecast: start must be 0 <= start <= {len(truth)}, got {start}.")
    steps = np.arange(start, start + len(prediction))
    ax = new_axes(6, 3) if ax is None else ax
    ax.plot(truth, color=BLACK, linewidth=1.2, label="truth")
    ax.plot(steps, prediction, "--", color=ORANGE, label="prediction")
    looks = cycle(((BLUE, "-."), (GREEN, ":")))
    for (name, values), (color, dash) in zip(others.items(), looks, strict=False):
        ax.plot(steps, np.asarray(values, float), dash, color=color, label=name, linewidth=1.2)
    if lower is not None and upper is not None:
        edges = np.asarray(lower, float), np.asarray(upper, float)
        ax.fill_between(steps, *edges, color=ORANGE, alpha=0.25, linewidth=0, label=band)
    if start:
        ax.axvline(start - 0.5, color="0.4", linestyle=":", label="forecast begins")
    ax.set(xlabel="step", ylabel=ylabel)
    ax.xaxis.set_major_locator(whole_numbers(len(truth)))
    ax.margins(x=0.01)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))  # The legend's room: a series leaves it none.
    open_frame(ax, loc="upper left", ncols=2)
    return ax
