"""The gate trace as heat maps: what comes in, what the gates do with it, what is remembered."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
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
    The numbers at the axis are the units' own. The colours of signed values are symmetric about 0
    and reach to the largest, those of the candidate to 1 at least. Where single values are far
    off, they reach to the 99th percentile, and the ends of the colour bar are pointed.

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
    heights = dict.fromkeys(values, 3.0) | {"x": min(max(2.0, len(inputs or ())), 4.0)}
    width, height = _inches(ax)
    small = width < SMALL[0] or height < SMALL[1]
    panels: dict[str, Axes] = {}
    for name, shown in values.items():
        panel = ax.inset_axes((0, 0, 1, 1), sharex=panels.get("x"))
        bar = ax.inset_axes((0, 0, 1, 1))
        panel.set_axes_locator(_place(ax, heights, name, bar=False))
        bar.set_axes_locator(_place(ax, heights, name, bar=True))
        _draw(panel, bar, name, shown if name == "x" else shown[:, order], valid, small)
        words = TITLES[name].split(":")[0] if small else TITLES[name]
        panel.set_title(words, loc="left", fontsize=9 if width > WIDE else 8, pad=4)
        rows = shown.shape[1]
        few = FixedLocator(range(rows)) if rows <= 8 else None
        panel.yaxis.set_major_locator(few or whole_numbers(rows))
        panel.yaxis.set_major_formatter(_names(range(channels) if name == "x" else order.tolist()))
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
    """Returns what there is to draw, from top to bottom, and which steps are valid."""
    if not isinstance(trace, Trace):
        raise ValueError(f"gates: trace must be a Trace, got a {type(trace).__name__}.")
    valid = np.asarray(trace.valid)
    values = {}
    for name in Panels._fields:
        value = getattr(trace, name)
        if value is None:
            continue
        shape = getattr(value, "shape", type(value).__name__)
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
        # Sharp cells while there are pixels for all of them, and means of neighbours beyond.
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
    """Returns up to which size colours tell values apart: the largest, unless it is far off."""
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not sizes.size:
        return 1.0
    largest, high = sizes.max(), np.percentile(sizes, 99)
    return high if largest > 2 * high else largest


def _names(rows: Sequence[int]) -> Callable[[float, float], str]:
    """Returns the formatter that numbers the rows, and nothing between or beyond them."""
    return lambda row, _: str(rows[int(row)]) if row in range(len(rows)) else ""


def _inches(ax: Axes) -> tuple[float, float]:
    """Returns the width and the height of axes as they are now."""
    return float(ax.bbox.width) / ax.figure.dpi, float(ax.bbox.height) / ax.figure.dpi


def _place(
    ax: Axes, heights: dict[str, float], name: str, *, bar: bool
) -> Callable[[Any, RendererBase], Bbox]:
    """Returns where a panel, or its colour bar, lies in `ax`, for any size that it comes to have.

    Titles and bars have sizes of their own, in inches; the panels share what is left by `heights`.
    """
    shares = np.array(list(heights.values())) / sum(heights.values())
    row = list(heights).index(name)

    def locate(*_: Any) -> Bbox:
        width, height = _inches(ax)
        title = min(TITLE / height, 0.5 / len(shares))
        tall = shares * (1 - title * len(shares))
        bottom = 1 - title * (row + 1) - tall[: row + 1].sum()
        left, right = (1 - BAR / width, 1) if bar else (0, 1 - (BAR + GAP) / width)
        box = Bbox.from_extents(left, bottom, right, bottom + tall[row])
        return TransformedBbox(box, ax.transAxes - ax.figure.transSubfigure).frozen()

    return locate
