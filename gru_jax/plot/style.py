"""Shared by the figures: colours that hold in grey and for colour-blind readers."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"
"""Okabe and Ito's; lines differ in dash, too."""

DARK = "#333333"
"""For marks and small print."""

SHARES = LinearSegmentedColormap.from_list("shares", ["#08244a", "#2b7bba", "#e3f3ff"])
"""From 0, shut and dark, to 1, open and light: gates."""

SIGNED = LinearSegmentedColormap.from_list("signed", ["#2a0a6b", "#918c96", "#ffdf5c"])
"""From negative, dark, by grey to positive, light: inputs, candidates, states."""


def ink(colour: Sequence[float] | np.ndarray) -> str:
    """Returns black or white, whichever reads better on this colour."""
    return "black" if np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.5 else "white"


def lines() -> Iterator[dict[str, Any]]:
    """Yields the looks of one line after another: first 4 dashes, and 20 in all, are different."""
    colours = BLUE, ORANGE, GREEN, PURPLE, BLACK
    for color, linestyle in zip(cycle(colours), cycle(("-", "--", "-.", ":")), strict=False):
        yield {"color": color, "linestyle": linestyle}


def new_axes(width: float, height: float) -> Axes:
    """Returns the axes of a new figure, in inches, that pyplot does not know."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def open_frame(ax: Axes, *, legend: bool = True, **options: Any) -> None:
    """Leaves the lower and left frame, a light grid and a legend that covers the lines under it."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    if legend:
        ax.legend(facecolor="white", framealpha=0.85, edgecolor="none", fontsize=9, **options)


def whole_numbers(count: int = 2) -> MaxNLocator:
    """Returns ticks at round whole numbers, as many as there is room for, of `count` that exist."""
    return MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=min(2, count))
