"""The gate trace as heat maps: the input, the gates, the candidate and the state over time."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox, TransformedBbox

from gru_jax.plot.style import SHARES, SIGNED, new_axes, whole_numbers
from gru_jax.types import Trace

TITLES = {
    "x": "input x",
    "r": "reset gate r: 0 hides the old state from the candidate",
    "z": "update gate z: 0 keeps the old state, 1 takes the candidate",
    "c": "candidate c: the new value on offer",
    "h": "hidden state h: what is remembered",
}
TITLE, GAP, BAR = 0.24, 0.08, 0.11
"""In inches: room for a panel's title, from panel to colour bar, the width of the bar."""
WIDE, SMALL = 4.1, (3.5, 2.5)
"""Inches: an area at least so wide has room for larger titles; one that is less wide or less high
than `SMALL` has none for all words."""


class Panels(NamedTuple):
    """The axes of each heat map; None for a gate that the cell does not have."""

    x: Axes
    r: Axes | None
    z: Axes | None
    c: Axes | None
    h: Axes


def gates(trace: Trace, ax: Axes | None = None, *, inputs: Sequence[str] | None = None) -> Panels:
    """Draws the input, the gates, the candidate and the state of one sequence, time to the right.

    All panels have their units in one order, by the mean update gate: the slowest at the bottom.
    The axis has the units' own numbers. The colours of signed values are symmetric about 0 and
    reach to the largest, for the candidate at least to 1. If single values are far off, they reach
    to the 99th percentile, and the ends of the colour bar are pointed.

    Args:
        trace: of one sequence, [time, features]: of a batch, `jax.tree.map(lambda a: a[i], trace)`.
        ax: the area in which the panels are laid out; its own frame is taken off.
        inputs: names of the input's channels.

    Returns:
        The axes of the panels, which share their time axis.

    Raises:
        ValueError: if the trace is not of one sequence, has no valid step, or `inputs` do not fit.
    """
    values, valid = _read(trace)
    channels = values["x"].shape[1]
    if inputs is not None and len(inputs) != channels:
        raise ValueError(f"gates: inputs must be {channels} names, got {len(inputs)}.")
    order = np.arange(values["h"].shape[1])
    if "z" in values:
        order = values["z"][valid].mean(0).argsort(kind="stable")
    ax = new_axes(7, 7.5) if ax is None else ax
    ax.set_axis_off()
    # Names need height; one nameless channel is well seen in a strip.
    heights = np.array([min(max(2.0, len(inputs or ())), 4.0), *[3.0] * (len(values) - 1)])
    width, height = _inches(ax)
    small = width < SMALL[0] or height < SMALL[1]
    panels: dict[str, Axes] = {}
    for place, (name, shown) in enumerate(values.items()):
        panel = ax.inset_axes((0, 0, 1, 1), sharex=panels.get("x"))
        bar = ax.inset_axes((0, 0, 1, 1))
        panel.set_axes_locator(partial(_locate, ax, heights, place, False))
        bar.set_axes_locator(partial(_locate, ax, heights, place, True))
        rows = np.arange(channels) if name == "x" else order
        _draw(panel, bar, name, shown[:, rows], valid, small)
        words = TITLES[name].split(":")[0] if small else TITLES[name]
        panel.set_title(words, loc="left", fontsize=9 if width > WIDE else 8, pad=4)
        few = len(rows) <= 8
        panel.yaxis.set_major_locator(FixedLocator(range(len(rows))) if few else whole_numbers())
        labels = dict[float, str](enumerate(map(str, rows)))  # No other tick has one.
        panel.yaxis.set_major_formatter(lambda row, _, labels=labels: labels.get(row, ""))
        panel.tick_params(labelbottom=name == "h")
        panels[name] = panel
    if inputs is not None:
        panels["x"].set_yticks(range(channels), inputs)
    elif not small:
        panels["x"].set_ylabel("channel", fontsize=9)
    below = list(panels.values())[1:]
    label = "unit, slowest at the bottom" if "z" in values else "unit"
    below[(len(below) - 1) // 2].set_ylabel(label, fontsize=9, y=0.5 if len(below) % 2 else -0.1)
    panels["h"].set_xlabel("step" if valid.all() else "step (hatched: padding)", fontsize=9)
    panels["h"].xaxis.set_major_locator(whole_numbers(len(valid)))
    r, z, c = (panels.get(name) for name in "rzc")
    return Panels(panels["x"], r, z, c, panels["h"])


def _read(
    trace: Trace,
) -> tuple[dict[str, Float[np.ndarray, "time _"]], Bool[np.ndarray, " time"]]:
    """Returns the values of each panel, from top to bottom, and the valid steps."""
    if not isinstance(trace, Trace):
        raise ValueError(f"gates: trace must be a Trace, got a {type(trace).__name__}.")
    valid = np.asarray(trace.valid)
    values = {}
    for name in Panels._fields:
        value = getattr(trace, name)
        if value is None:
            continue
        if not hasattr(value, "shape"):
            raise ValueError(
                f"gates: trace.{name} must be an array, as a GRU's, got a {type(value).__name__}: "
                "draw trace.gates and the parts of the state one by one."
            )
        shape = value.shape
        if valid.ndim != 1 or len(shape) != 2 or shape[0] != len(valid):
            raise ValueError(
                f"gates: trace.{name} must be [time, features] of one sequence, got {shape}."
            )
        values[name] = np.asarray(value, float)
    if not valid.any():
        raise ValueError(f"gates: trace must have a valid step, got {len(valid)} of padding.")
    return values, valid


def _draw(
    panel: Axes,
    bar: Axes,
    name: str,
    values: Float[np.ndarray, "time _"],
    valid: Bool[np.ndarray, " time"],
    small: bool,
) -> None:
    """Draws one heat map and its colour bar."""
    low, high, colours, beyond = 0.0, 1.0, SHARES, False
    if name in "xch":
        sizes = np.abs(values[valid])
        high = max(_reach(sizes), 1.0) if name == "c" else _reach(sizes)
        low, colours, beyond = -high, SIGNED, bool((sizes > high).any())
    if not valid.all():
        panel.patch.set(hatch="/////", facecolor="white", edgecolor="0.75", linewidth=0)
    time, size = values.shape
    image = panel.imshow(
        np.ma.masked_array(values, ~np.broadcast_to(valid[:, None], values.shape)).T,
        cmap=colours,
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="auto",
        # Sharp cells as long as each has pixels, then means of neighbours.
        interpolation="nearest" if max(values.shape) <= 128 else "antialiased",
        extent=(-0.5, time - 0.5, -0.5, size - 0.5),
    )
    bar.set_title(f"${name}_t$", fontsize=9, pad=4)
    panel.figure.colorbar(
        image,
        cax=bar,
        ticks=(low, high) if small else (low, (low + high) / 2, high),
        format="{x:.2g}",
        extend="both" if beyond else "neither",
    )
    panel.tick_params(labelsize=8)
    bar.tick_params(labelsize=8)


def _reach(sizes: Float[np.ndarray, "steps _"]) -> float:
    """Returns the size at which colours end: the largest, or the 99th percentile far below it."""
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not sizes.size:
        return 1.0
    largest, high = sizes.max(), np.percentile(sizes, 99)
    return high if largest > 2 * high else largest


def _inches(ax: Axes) -> tuple[float, float]:
    """Returns the width and the height of axes as they are now."""
    return float(ax.bbox.width) / ax.figure.dpi, float(ax.bbox.height) / ax.figure.dpi


def _locate(
    ax: Axes, heights: Float[np.ndarray, " panels"], place: int, bar: bool, *_: Any
) -> Bbox:
    """Returns the current box of a panel, or of its colour bar, in `ax`.

    Titles and bars have fixed sizes in inches; the panels share the rest by `heights`.
    """
    width, height = _inches(ax)
    title = min(TITLE / height, 0.5 / len(heights))
    tall = heights / heights.sum() * (1 - title * len(heights))
    bottom = 1 - title * (place + 1) - tall[: place + 1].sum()
    left, right = (1 - BAR / width, 1) if bar else (0, 1 - (BAR + GAP) / width)
    box = Bbox.from_extents(left, bottom, right, bottom + tall[place])
    return TransformedBbox(box, ax.transAxes - ax.figure.transSubfigure).frozen()
