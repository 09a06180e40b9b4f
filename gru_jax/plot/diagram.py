"""One step of the cell as a diagram in which every colour and every number is a real value.

    x_t, h_{t-1} -> reset gate r_t -> candidate c_t -> update gate z_t -> hidden state h_t

A row is a unit, so its values can be read, and worked out, from left to right.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import Normal, withStroke

from gru_jax.plot.style import BLUE, DARK, ORANGE, SHARES, SIGNED, ink, new_axes
from gru_jax.types import ArrayLike, Trace

ROWS = 5
"""Units, and input channels, that are shown if no others are asked for."""
PALE = "#f3f3f3"
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}

# In units of the diagram: the size of a cell, the middle of each column, the products with their
# nonlinearity, and where one band ends and the next begins.
WIDTH, HEIGHT = 5.8, 3.5
X, H, R, RH, C, Z, KEPT, TAKEN, H_NEXT = 2.4, 11.4, 30.8, 42.6, 60.0, 80.4, 94.2, 105.2, 114.8
SIGMA_R, TANH, SIGMA_Z = 21.0, 51.2, 71.0
BANDS = (-7.6, 15.2, 36.8, 65.2, 86.8, 118.4)
FULL = 9.0
"""Inches of width at which text has the sizes below; it grows and shrinks with the diagram."""


def step(
    trace: Trace,
    t: int,
    ax: Axes | None = None,
    *,
    units: Sequence[int] | None = None,
    inputs: Sequence[str] | None = None,
) -> Axes:
    """Draws how one step makes h_t of x_t and h_{t-1}, in the order of the equations.

    The equations are `gru`'s. Another cell's gates have values like these, but other equations.

    Args:
        trace: of one sequence, `[time, ...]`.
        t: the step, counted from 0; no padding.
        ax: where to draw, 2.5 times as wide as high, and 9 inches wide or more for text to read.
        units: which to show, a row each; None is five of all speeds, the slowest at the bottom.
        inputs: names of the input's channels, of which the first five are shown.

    Raises:
        ValueError: if the trace is not of a GRU and one sequence, or a number is out of range.
    """
    arrays = one_sequence("step", trace)
    if not 0 <= t < len(arrays.h) or not arrays.valid[t]:
        needed = f"0 to {len(arrays.h) - 1}" + ", and no padding" * (not arrays.valid.all())
        raise ValueError(f"step: t must be {needed}, got {t}.")
    channels = arrays.x.shape[1]
    if inputs is not None and len(inputs) != channels:
        raise ValueError(f"step: inputs must be {channels} names, got {len(inputs)}.")
    rows = which(arrays, "step", units)
    ax = new_axes(*size(arrays, rows)) if ax is None else ax
    x, names = arrays.x[t, :ROWS], (inputs or range(channels))[:ROWS]
    values = arrays.r, arrays.z, arrays.c, arrays.h, arrays.h_before
    r, z, c, h, before = (value[t, rows] for value in values)
    product, inner = before, r"r_t\odot h_{t-1}"
    if arrays.q is not None:
        product, inner = arrays.q[t, rows], r"r_t\odot q_t"
    scale = max(float(np.nanpercentile(np.abs(arrays.x[arrays.valid]), 99)), 1e-6)
    top = max(len(rows), len(x)) * HEIGHT / 2

    ax.set(xlim=(BANDS[0], BANDS[-1]), ylim=(-top - 17, top + 13), aspect="equal")
    ax.set_axis_off()
    shown = f"{len(x)} of {channels} inputs,\n{len(rows)} of {arrays.h.shape[1]} units"
    _draw_bands(ax, top, t, shown, after=arrays.q is not None)
    _draw_wires(ax, top, len(rows) * HEIGHT / 2, len(x) * HEIGHT / 2)
    _draw_column(ax, X, "x_t", x, SIGNED, scale)
    _draw_column(ax, H, "h_{t-1}", before, SIGNED)
    _draw_column(ax, R, "r_t", r, SHARES)
    _draw_column(ax, RH, inner, r * product, SIGNED)
    _draw_column(ax, C, "c_t", c, SIGNED)
    _draw_column(ax, Z, "z_t", z, SHARES)
    _draw_column(ax, KEPT, r"(1-z_t)\odot h_{t-1}", (1 - z) * before, SIGNED)
    _draw_column(ax, TAKEN, r"z_t\odot c_t", z * c, SIGNED)
    _draw_column(ax, H_NEXT, "h_t", h, SIGNED)
    for column, labels in ((X, names), (H, rows)):
        for label, y in zip(labels, _heights(len(labels)), strict=True):
            left = column - WIDTH / 2 - 0.5
            ax.text(left, y, str(label), ha="right", va="center", size=8, color=DARK)
    height = ax.bbox.height * (BANDS[-1] - BANDS[0]) / (2 * top + 30)
    scale = min(ax.bbox.width, height) / ax.figure.dpi / FULL
    for text in ax.texts:
        text.set_fontsize(float(text.get_fontsize()) * scale)
    return ax


def size(trace: Trace, rows: Int[np.ndarray, " rows"]) -> tuple[float, float]:
    """Returns the diagram's full width and height in inches."""
    height = max(len(rows), min(ROWS, trace.x.shape[1])) * HEIGHT + 30
    return 12, 12 * height / (BANDS[-1] - BANDS[0])


def one_sequence(function: str, trace: Trace) -> Any:
    """Returns the trace as NumPy arrays, if it is a GRU's and of one sequence."""
    if not isinstance(trace, Trace):
        raise ValueError(f"{function}: trace must be a Trace, got a {type(trace).__name__}.")
    values = {name: getattr(trace, name) for name in "rzch"}
    names = getattr(trace.gates, "_fields", ("none",))
    if not {*"rzc"} <= {*names}:
        raise ValueError(
            f"{function}: trace must be of a GRU, whose equations are drawn, with gates r, z and "
            f"c, got a cell with gates {', '.join(names)}."
        )
    got = {name: np.shape(value) for name, value in values.items() if value is not None}
    if [len(shape) for shape in got.values()] != 4 * [2]:
        raise ValueError(f"{function}: trace must have r, z, c, h [time, hidden], got {got}.")
    if not np.any(trace.valid):
        raise ValueError(
            f"{function}: trace must have a valid step, got {len(trace.h)} of padding."
        )
    arrays = jax.tree.map(np.asarray, trace)
    mixed = (1 - arrays.z) * arrays.h_before + arrays.z * arrays.c
    if not np.allclose(mixed[arrays.valid], arrays.h[arrays.valid], atol=1e-2, equal_nan=True):
        raise ValueError(
            f"{function}: trace must have h = (1 - z) h_before + z c, as without zoneout and clip."
        )
    return arrays


def which(arrays: Any, function: str, units: Sequence[int] | None) -> Int[np.ndarray, " rows"]:
    """Returns the units to show: by default of all speeds, by their mean z, the slowest last."""
    size = arrays.h.shape[1]
    if units is None:
        order = arrays.z[arrays.valid].mean(0).argsort()
        return order[np.linspace(size - 1, 0, min(ROWS, size)).round().astype(int)]
    if not len(units) or not all(0 <= unit < size for unit in units):
        raise ValueError(f"{function}: units must be one or more of 0 to {size - 1}, got {units}.")
    return np.asarray(units)


def _draw_bands(ax: Axes, top: float, t: int, shown: str, *, after: bool) -> None:
    """Draws a background for each equation: its name above, the equation and its meaning below."""
    candidate, detail = r"$c_t=\tanh(x_tW_{cx}+b_c+r_t\odot q_t)$", r"$q_t=h_{t-1}W_{ch}+b_h$"
    if not after:
        candidate = r"$c_t=\tanh([x_t,\ r_t\odot h_{t-1}]\,W_c+b_c)$"
        detail = "from \N{MINUS SIGN}1 to 1"
    names = f"step {t}", "1  reset gate", "2  candidate", "3  update gate", "4  hidden state"
    equations = (
        r"$x_t$ and $h_{t-1}$",
        r"$r_t=\sigma([x_t,h_{t-1}]\,W_r+b_r)$",
        candidate,
        r"$z_t=\sigma([x_t,h_{t-1}]\,W_z+b_z)$",
        r"$h_t=(1-z_t)\odot h_{t-1}+z_t\odot c_t$",
    )
    meanings = (
        shown,
        "how much old state\nthe candidate sees",
        f"the state that is proposed,\n{detail}",
        "how much of the\ncandidate is taken",
        "what is kept of the old state,\nand what is taken of the candidate",
    )
    bands = zip(names, equations, meanings, BANDS, BANDS[1:], strict=False)
    for name, equation, meaning, left, right in bands:
        corner, width, height = (left + 0.3, -top - 16.6), right - left - 0.6, 2 * top + 29.2
        ax.add_patch(Rectangle(corner, width, height, facecolor=PALE, zorder=0))
        middle = (left + right) / 2
        ax.text(middle, top + 10.2, name, weight="bold", size=11, **CENTRED)
        ax.text(middle, -top - 9.6, equation, size=8.5, **CENTRED)
        ax.text(middle, -top - 13.6, meaning, size=8, color=DARK, **CENTRED)


def _draw_wires(ax: Axes, top: float, edge: float, edge_x: float) -> None:
    """Draws the data flow; `edge` is the upper edge of the columns, `edge_x` the edge of x_t."""
    lane_h, lane_x, lane_c, head = top + 6.4, -top - 2.6, -top - 5.2, edge + 3.4
    half = WIDTH / 2

    def wire(*points: tuple[float, float], color: str = DARK, arrow: bool = True) -> None:
        # The pale rim parts lines that cross; where lines meet there is a dot.
        rim = [withStroke(linewidth=4, foreground=PALE), Normal()] if color == ORANGE else []
        ax.plot(*zip(*points, strict=True), color=color, linewidth=1.4, path_effects=rim, zorder=1)
        if arrow:
            style = {"arrowstyle": "-|>", "color": color, "linewidth": 0, "mutation_scale": 13}
            ax.annotate("", points[-1], points[-2], arrowprops=style | {"shrinkA": 0, "shrinkB": 0})

    wire((X, -edge_x), (X, lane_x), (SIGMA_Z, lane_x), arrow=False)
    wire((H, head), (H, lane_h), (KEPT, lane_h), (KEPT, head), color=BLUE)
    for x in (SIGMA_R, TANH, SIGMA_Z):
        name, size, radius = ("tanh", 8, 2.6) if x == TANH else (r"$\sigma$", 11, 2.0)
        wire((x, lane_x), (x, -radius))
        ax.add_patch(Circle((x, 0), radius, facecolor="white", edgecolor=DARK, zorder=3))
        ax.text(x, 0, name, size=size, zorder=4, **CENTRED)
    for x, end in ((SIGMA_R, 2.0), (RH, head), (SIGMA_Z, 2.0)):
        wire((x, lane_h), (x, end), color=BLUE)
    wire((C, -edge), (C, lane_c), (TAKEN, lane_c), (TAKEN, -edge), color=ORANGE)
    starts = SIGMA_R + 2, R + half, RH + half, TANH + 2.6, SIGMA_Z + 2, Z + half
    ends = R - half, RH - half, TANH - 2.6, C - half, Z - half, KEPT - half
    for start, end in zip(starts, ends, strict=True):
        wire((start, 0), (end, 0))
    fork, below = Z + half + 2, -edge - 1.6
    wire((fork, 0), (fork, below), (TAKEN - 1.6, below), (TAKEN - 1.6, -edge))
    ax.plot([fork], [0], ".", color=DARK, markersize=7)
    ax.plot([SIGMA_R, RH, SIGMA_Z], [lane_h] * 3, ".", color=BLUE, markersize=7)
    ax.plot([SIGMA_R, TANH], [lane_x] * 2, ".", color=DARK, markersize=7)
    ax.text((KEPT + TAKEN) / 2, 0, "+", size=13, **CENTRED)
    ax.text((TAKEN + H_NEXT) / 2, 0, "=", size=13, **CENTRED)


def _heights(count: int) -> Float[np.ndarray, " rows"]:
    """Returns the height of each row's middle, from the top."""
    return ((count - 1) / 2 - np.arange(count)) * HEIGHT


def _draw_column(
    ax: Axes,
    x: float,
    name: str,
    values: Float[ArrayLike, " rows"],
    colours: Colormap,
    scale: float = 1,
) -> None:
    """Draws a column of cells, each with its value; `scale` is the largest size of a signed one."""
    colour_of = Normalize(-scale if colours is SIGNED else 0, scale)
    for y, value in zip(_heights(len(values)), values, strict=True):
        colour, corner = colours(colour_of(value)), (x - WIDTH / 2, y - HEIGHT / 2)
        ax.add_patch(Rectangle(corner, WIDTH, HEIGHT, fc=colour, ec="white", lw=1.2, zorder=2))
        number = f"{round(float(value), 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
        ax.text(x, y, number, size=8.5, color=ink(colour), zorder=3, **CENTRED)
    ax.text(x, len(values) * HEIGHT / 2 + 1.7, f"${name}$", size=10, **CENTRED)
