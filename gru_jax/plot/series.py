"""A series and its prediction."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from gru_jax.plot.style import BLACK, BLUE, GREEN, ORANGE, new_axes, open_frame, whole_numbers
from gru_jax.types import ArrayLike


def forecast(
    truth: Float[ArrayLike, " time"],
    prediction: Float[ArrayLike, " steps"],
    ax: Axes | None = None,
    *,
    start: int = 0,
    times: Shaped[ArrayLike, " all"] | None = None,
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
        times: the time of each step of series and prediction, `datetime64` or numbers; by default
            0, 1, 2, ...
        lower: the lower edge of a band about the prediction.
        upper: the upper edge.
        band: name of the band, e.g. "80 % interval".
        others: more predictions of the same steps, by their names in the legend.
        ylabel: name of the series, with its unit.

    Raises:
        ValueError: if shapes do not fit, `start` or `times` is wrong, or one edge of the band is
            missing.
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
    count = max(len(truth), start + len(prediction))
    x = np.arange(count) if times is None else np.asarray(times)
    if x.shape != (count,) or x.dtype.kind not in "Miuf":
        needed = f"[{count}] of datetime64 or numbers, one for each step"
        raise ValueError(f"forecast: times must be {needed}, got {x.shape} of {x.dtype}.")
    if x.dtype.kind == "M":
        x = x.astype("datetime64[us]")  # Half a day is no whole number of days.
    steps = x[start : start + len(prediction)]
    ax = new_axes(6, 3) if ax is None else ax
    ax.plot(x[: len(truth)], truth, color=BLACK, linewidth=1.2, label="truth")
    ax.plot(steps, prediction, "--", color=ORANGE, label="prediction")
    looks = cycle(((BLUE, "-."), (GREEN, ":")))
    for (name, values), (color, dash) in zip(others.items(), looks, strict=False):
        ax.plot(steps, np.asarray(values, float), dash, color=color, label=name, linewidth=1.2)
    if lower is not None and upper is not None:
        edges = np.asarray(lower, float), np.asarray(upper, float)
        ax.fill_between(steps, *edges, color=ORANGE, alpha=0.25, linewidth=0, label=band)
    if 0 < start < count:
        middle = x[start - 1] + (x[start] - x[start - 1]) / 2
        ax.axvline(middle, color="0.4", linestyle=":", label="forecast begins")
    ax.set(xlabel="step" if times is None else "time", ylabel=ylabel)
    if x.dtype.kind == "M":
        locator = AutoDateLocator()
        ax.xaxis.set(major_locator=locator, major_formatter=ConciseDateFormatter(locator))
    else:
        ax.xaxis.set_major_locator(whole_numbers(len(truth)))
    ax.margins(x=0.01)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))  # Leaves room for the legend.
    open_frame(ax, loc="upper left", ncols=2)
    return ax
