"""How far back: the units' memory, and the gradient's way through time."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter

from gru_jax.plot.style import lines, new_axes, open_frame, whole_numbers
from gru_jax.types import ArrayLike

BINS = 25


def timescales(
    values: Float[ArrayLike, " hidden"] | Mapping[str, Float[ArrayLike, " hidden"]],
    ax: Axes | None = None,
) -> Axes:
    """Draws how many units have which memory timescale, on a logarithmic axis.

    The axis cannot show units with an infinite timescale or with none: a note counts them.

    Args:
        values: in steps, from `gru_jax.timescales`; or several, by label.
        ax: where to draw.

    Raises:
        ValueError: if the values of a label are not [hidden].
    """
    drawn, notes, low, high = _read("timescales", "values", "hidden", values)
    ax = new_axes(5, 3.4) if ax is None else ax
    if low == high:
        low, high = low / 2, high * 2
    bins = np.geomspace(low, high, BINS + 1)
    for (label, some), line in zip(drawn.items(), lines(), strict=False):
        counts, _ = np.histogram(some[np.isfinite(some)], bins)
        look = {"edgecolor": line["color"], "facecolor": (line["color"], 0.25), "linewidth": 1.6}
        look["linestyle"] = line["linestyle"]
        ax.stairs(counts, bins, label=label, fill=len(drawn) == 1, **look)
    ax.set_xscale("log")
    _label_ticks(ax.xaxis, low, high)
    ax.set(xlabel="\n".join(["memory timescale (steps)", *notes]), ylabel="units")
    ax.yaxis.set_major_locator(whole_numbers())
    ax.set_ylim(0, max(1, ax.get_ylim()[1]))
    open_frame(ax, legend=isinstance(values, Mapping))
    return ax


def gradient_flow(
    norms: Float[ArrayLike, " time"] | Mapping[str, Float[ArrayLike, " time"]],
    ax: Axes | None = None,
) -> Axes:
    """Draws the norms of the gradient over time, on a logarithmic axis; where they are 0, a gap.

    Args:
        norms: from `gradient_norms`, of one sequence; or several, by label.
        ax: where to draw.

    Raises:
        ValueError: if the norms of a label are not [time].
    """
    drawn, notes, low, high = _read("gradient_flow", "norms", "time", norms)
    ax = new_axes(5, 3.4) if ax is None else ax
    for (label, some), line in zip(drawn.items(), lines(), strict=False):
        around = np.isfinite(np.pad(some, 1, constant_values=np.nan))
        alone = around[1:-1] & ~around[:-2] & ~around[2:]  # no line shows these
        marker = "." if alone.any() else None
        ax.plot(some, label=label, marker=marker, markevery=np.flatnonzero(alone).tolist(), **line)
    ax.set_yscale("log")
    _label_ticks(ax.yaxis, low, high)
    ax.set(xlabel="\n".join(["step", *notes]), ylabel="$|dL/dh_t|$ (loss per unit of state)")
    steps = max(map(len, drawn.values()))
    ax.xaxis.set_major_locator(whole_numbers(steps))
    ax.set_xlim(-0.5, steps - 0.5)
    open_frame(ax, legend=isinstance(norms, Mapping))
    return ax


def _read(
    function: str,
    name: str,
    axis: str,
    values: Float[ArrayLike, " _"] | Mapping[str, Float[ArrayLike, " _"]],
) -> tuple[dict[str, Float[np.ndarray, " _"]], list[str], float, float]:
    """Returns the values by label, a note on each kind not shown, the least and greatest value.

    Values that a logarithmic axis cannot show are NaN.
    """
    labelled = values if isinstance(values, Mapping) else {"": values}
    drawn, notes = {}, []
    for label, some in labelled.items():
        some = np.asarray(some, float)
        at = f"{name}[{label!r}]" if label else name
        if some.ndim != 1:
            raise ValueError(f"{function}: {at} must be [{axis}], got {some.shape}.")
        kinds = {"zero": some == 0, "infinite": np.isinf(some), "NaN": np.isnan(some)}
        counts = [f"{where.sum()} {kind}" for kind, where in kinds.items() if where.any()]
        if counts:
            notes.append(f"{label}{': ' * bool(label)}{', '.join(counts)}, not shown")
        drawn[label] = np.where(np.isfinite(some) & (some > 0), some, np.nan)
    shown = np.concatenate(list(drawn.values()))
    shown = shown[np.isfinite(shown)]
    low, high = (shown.min(), shown.max()) if shown.size else (1.0, 1.0)
    return drawn, notes, low, high


def _label_ticks(axis: Axis, low: float, high: float) -> None:
    """Labels more than the powers of 10 where these would be too few."""
    ranges = {4: (1, 1.5, 2, 3, 4, 5, 6, 8), 30: (1, 2, 5), 300: (1, 3)}
    if subs := next((subs for below, subs in ranges.items() if high / low < below), None):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
