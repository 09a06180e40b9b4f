"""One step of the cell as a diagram in which every colour and every number is a real value.

    x_t, h_{t-1} -> reset gate r_t -> candidate c_t -> update gate z_t -> hidden state h_t

A row is a unit, so what happens to a unit can be read, and worked out, along its row.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

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

# In units of the diagram: the size of a cell, the middle of each column, the products with their
# nonlinearity, and where one band ends and the next begins.
WIDTH, HEIGHT = 5.8, 3.5
X, H, R, RH, C, Z, KEPT, TAKEN, H_NEXT = 3.0, 12.4, 29.6, 41.2, 59.6, 79.6, 93.2, 104.4, 114.2
SIGMA_R, TANH, SIGMA_Z = 21.4, 50.4, 71.4
BANDS = (-7.6, 16.6, 35.2, 66.6, 85.2, 118.4)
FULL = 9.0
"""Inches of width from which on text has its full size."""


class Band(NamedTuple):
    """What is written above and below the columns of one equation."""

    name: str
    equation: str
    meaning: str


def step(
    trace: Trace,
    t: int,
    ax: Axes | None = None,
    *,
    units: Sequence[int] | None = None,
    inputs: Sequence[str] | None = None,
) -> Axes:
    """Draws how one step makes h_t of x_t and h_{t-1}, in the order of the equations.

    The equations are those of `gru`; another cell's gates have values like these, and other
    equations.

    Args:
        trace: of one sequence, `[time, ...]`.
        t: the step, counted from 0; no padding.
        ax: where to draw, 2.5 times as wide as high, and 9 inches wide or more for text to read.
        units: which to show, a row each; None is five of all speeds, the slowest at the bottom.
        inputs: names of the input's channels, of which the first five are shown.

    Raises:
        ValueError: if the trace is not of a GRU and one sequence, or a number is out of range.
    """
    of = one_sequence("step", trace)
    if not 0 <= t < len(of.h) or not of.valid[t]:
        what = f"0 to {len(of.h) - 1}" + (", and no padding" if not of.valid.all() else "")
        raise ValueError(f"step: t must be {what}, got {t}.")
    if inputs is not None and len(inputs) != of.x.shape[1]:
        raise ValueError(f"step: inputs must be {of.x.shape[1]} names, got {len(inputs)}.")
    rows = which(of, "step", units)
    ax = new_axes(*size(of, rows)) if ax is None else ax
    r, z, c, h, before = (a[t, rows] for a in (of.r, of.z, of.c, of.h, of.h_before))
    product, inner = before, r"r_t\odot h_{t-1}"
    if of.q is not None:
        product, inner = of.q[t, rows], r"r_t\odot q_t"
    xs = of.x
    scale = max(float(np.nanpercentile(np.abs(xs[of.valid]), 99)), 1e-6)
    inputs_shown = min(ROWS, xs.shape[1])
    top = max(len(rows), inputs_shown) * HEIGHT / 2

    ax.set(xlim=(BANDS[0], BANDS[-1]), ylim=(-top - 17, top + 13), aspect="equal")
    ax.set_axis_off()
    shown = f"{inputs_shown} of {xs.shape[1]} inputs,\n{len(rows)} of {of.h.shape[1]} units"
    for band, left, right in zip(_bands(t, inner, shown), BANDS, BANDS[1:], strict=False):
        _draw_band(ax, band, left + 0.3, right - 0.3, top)
    _draw_wires(ax, top, len(rows) * HEIGHT / 2, inputs_shown * HEIGHT / 2)
    _draw_column(ax, X, "x_t", xs[t, :inputs_shown], SIGNED, (-scale, scale))
    for x, name, values in (
        (H, "h_{t-1}", before),
        (RH, inner, r * product),
        (C, "c_t", c),
        (KEPT, r"(1-z_t)\odot h_{t-1}", (1 - z) * before),
        (TAKEN, r"z_t\odot c_t", z * c),
        (H_NEXT, "h_t", h),
    ):
        _draw_column(ax, x, name, values, SIGNED, (-1, 1))
    for x, name, values in ((R, "r_t", r), (Z, "z_t", z)):
        _draw_column(ax, x, name, values, SHARES, (0, 1))
    channels = (inputs or range(inputs_shown))[:inputs_shown]
    for x, names in ((X, channels), (H, rows)):
        for name, y in zip(names, _rows(len(names)), strict=True):
            left = x - WIDTH / 2 - 0.5
            ax.text(left, y, str(name), ha="right", va="center", size=7, color=DARK)
    for text in ax.texts:
        text.set_fontsize(float(text.get_fontsize()) * min(1, ax.bbox.width / ax.figure.dpi / FULL))
    return ax


def size(trace: Trace, rows: Int[np.ndarray, " rows"]) -> tuple[float, float]:
    """Returns the inches that the diagram takes where there is room."""
    high = max(len(rows), min(ROWS, trace.x.shape[1])) * HEIGHT + 30
    return 12, 12 * high / (BANDS[-1] - BANDS[0])


def one_sequence(function: str, trace: Trace) -> Any:
    """Returns the trace as NumPy arrays, if it is a GRU's and of one sequence."""
    if not isinstance(trace, Trace):
        raise ValueError(f"{function}: trace must be a Trace, got a {type(trace).__name__}.")
    if any(a is None or np.ndim(a) != 2 for a in (trace.r, trace.z, trace.c, trace.h)):
        got = {name: np.shape(a) for name, a in zip("rzch", trace, strict=False) if a is not None}
        raise ValueError(f"{function}: trace must have r, z, c, h [time, hidden], got {got}.")
    if not np.any(trace.valid):
        raise ValueError(
            f"{function}: trace must have a valid step, got {len(trace.h)} of padding."
        )
    of = jax.tree.map(np.asarray, trace)
    mixed = (1 - of.z) * of.h_before + of.z * of.c
    if not np.allclose(mixed[of.valid], of.h[of.valid], atol=1e-2, equal_nan=True):
        raise ValueError(
            f"{function}: trace must have h = (1 - z) h_before + z c, as without zoneout and clip."
        )
    return of


def which(trace: Trace, function: str, units: Sequence[int] | None) -> Int[np.ndarray, " rows"]:
    """Returns the units to show: by default of all speeds, by their mean z, the slowest last."""
    size = trace.h.shape[1]
    if units is None:
        order = np.argsort(np.mean(np.asarray(trace.z)[np.asarray(trace.valid)], 0))
        return order[np.linspace(size - 1, 0, min(ROWS, size)).round().astype(int)]
    if not len(units) or not all(0 <= unit < size for unit in units):
        raise ValueError(f"{function}: units must be one or more of 0 to {size - 1}, got {units}.")
    return np.asarray(units)


def _bands(t: int, inner: str, shown: str) -> tuple[Band, ...]:
    after = "q" in inner
    return (
        Band(f"step {t}", r"$x_t$ and $h_{t-1}$", shown),
        Band(
            "1  reset gate",
            r"$r_t=\sigma([x_t,h_{t-1}]\,W_r+b_r)$",
            "how much of the old state\nthe candidate sees",
        ),
        Band(
            "2  candidate",
            r"$c_t=\tanh(x_tW_{cx}+b_c+r_t\odot q_t)$"
            if after
            else r"$c_t=\tanh([x_t,\ r_t\odot h_{t-1}]\,W_c+b_c)$",
            "the state that is proposed,\n"
            + (r"$q_t=h_{t-1}W_{ch}+b_h$" if after else "from \N{MINUS SIGN}1 to 1"),
        ),
        Band(
            "3  update gate",
            r"$z_t=\sigma([x_t,h_{t-1}]\,W_z+b_z)$",
            "how much of the candidate\nis taken",
        ),
        Band(
            "4  hidden state",
            r"$h_t=(1-z_t)\odot h_{t-1}+z_t\odot c_t$",
            "what is kept of the old state,\nand what is taken of the candidate",
        ),
    )


def _draw_band(ax: Axes, band: Band, left: float, right: float, top: float) -> None:
    ax.add_patch(
        Rectangle((left, -top - 16.6), right - left, 2 * top + 29.2, facecolor=PALE, zorder=0)
    )
    middle = (left + right) / 2
    ax.text(middle, top + 10.2, band.name, ha="center", va="center", weight="bold", size=11)
    ax.text(middle, -top - 9.6, band.equation, ha="center", va="center", size=9.5)
    ax.text(middle, -top - 13.6, band.meaning, ha="center", va="center", size=8, color=DARK)


def _draw_wires(ax: Axes, top: float, edge: float, edge_x: float) -> None:
    """Draws who reads whom; `edge` is the upper edge of the columns, `edge_x` that of x_t."""
    lane_h, lane_x, lane_c, head = top + 6.4, -top - 2.6, -top - 5.2, edge + 3.4
    half = WIDTH / 2

    def wire(*points: tuple[float, float], color: str = DARK, arrow: bool = True) -> None:
        # The pale rim parts lines that cross; where lines meet there is a dot.
        rim = [withStroke(linewidth=4, foreground=PALE), Normal()] if color == ORANGE else []
        ax.plot(*zip(*points, strict=True), color=color, linewidth=1.4, path_effects=rim, zorder=1)
        if arrow:
            style = {"arrowstyle": "-|>", "color": color, "linewidth": 0, "mutation_scale": 13}
            style |= {"shrinkA": 0, "shrinkB": 0}
            ax.annotate("", points[-1], points[-2], arrowprops=style)

    wire((X, -edge_x), (X, lane_x), (SIGMA_Z, lane_x), arrow=False)
    wire((H, head), (H, lane_h), (KEPT, lane_h), (KEPT, head), color=BLUE)
    for x, name, radius in (
        (SIGMA_R, r"$\sigma$", 2.0),
        (TANH, "tanh", 2.6),
        (SIGMA_Z, r"$\sigma$", 2.0),
    ):
        wire((x, lane_x), (x, -radius))
        ax.add_patch(Circle((x, 0), radius, facecolor="white", edgecolor=DARK, zorder=3))
        ax.text(x, 0, name, ha="center", va="center", size=8 if x == TANH else 11, zorder=4)
    for x, end in ((SIGMA_R, 2.0), (RH, head), (SIGMA_Z, 2.0)):
        wire((x, lane_h), (x, end), color=BLUE)
    wire((C, -edge), (C, lane_c), (TAKEN, lane_c), (TAKEN, -edge), color=ORANGE)
    for start, end in (
        (SIGMA_R + 2, R - half),
        (R + half, RH - half),
        (RH + half, TANH - 2.6),
        (TANH + 2.6, C - half),
        (SIGMA_Z + 2, Z - half),
        (Z + half, KEPT - half),
    ):
        wire((start, 0), (end, 0))
    fork, below = Z + half + 2, -edge - 1.6
    wire((fork, 0), (fork, below), (TAKEN - 1.6, below), (TAKEN - 1.6, -edge))
    ax.plot([fork], [0], ".", color=DARK, markersize=7)
    ax.plot([SIGMA_R, RH, SIGMA_Z], [lane_h] * 3, ".", color=BLUE, markersize=7)
    ax.plot([SIGMA_R, TANH], [lane_x] * 2, ".", color=DARK, markersize=7)
    ax.text((KEPT + TAKEN) / 2, 0, "+", ha="center", va="center", size=13)
    ax.text((TAKEN + H_NEXT) / 2, 0, "=", ha="center", va="center", size=13)


def _rows(count: int) -> Float[np.ndarray, " rows"]:
    """Returns the height of each row's middle, from the top."""
    return ((count - 1) / 2 - np.arange(count)) * HEIGHT


def _draw_column(
    ax: Axes,
    x: float,
    name: str,
    values: Float[ArrayLike, " rows"],
    colours: Colormap,
    ends: tuple[float, float],
) -> None:
    for y, value in zip(_rows(len(values)), values, strict=True):
        colour = colours(Normalize(*ends)(value))
        ax.add_patch(
            Rectangle(
                (x - WIDTH / 2, y - HEIGHT / 2),
                WIDTH,
                HEIGHT,
                facecolor=colour,
                edgecolor="white",
                linewidth=1.2,
                zorder=2,
            )
        )
        ax.text(
            x,
            y,
            f"{round(float(value), 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}"),
            ha="center",
            va="center",
            size=8.5,
            color=ink(colour),
            zorder=3,
        )
    ax.text(x, len(values) * HEIGHT / 2 + 1.7, f"${name}$", ha="center", va="center", size=10)
