"""What the figures share: colours that hold in grey and for colour-blind readers."""

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"
"""Okabe and Ito's; lines differ in dash, too."""

SHARES = "cividis"
"""From 0, dark, to 1, light: gates."""

SIGNED = LinearSegmentedColormap.from_list("signed", ["#2d004b", "#999999", "#ffcc66"])
"""From negative, dark, by grey to positive, light: inputs, candidates, states."""


def new_axes(width: float, height: float) -> Axes:
    """Returns the axes of a figure of their own, in inches, which no global state knows of."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def open_frame(ax: Axes) -> None:
    """Takes off the frame's upper and right side and draws a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
