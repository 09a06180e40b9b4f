"""How training went: metrics over epochs, and what was taken for what."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gru_jax.plot.style import BLUE, ORANGE, new_axes, open_frame

UNITS = {"loss": "loss (nats)", "accuracy": "accuracy (fraction)"}


def learning_curves(
    rows: Sequence[dict[str, float]], name: str = "loss", ax: Axes | None = None
) -> Axes:
    """Draws a metric over epochs, in training and validation.

    Args:
        rows: those that `fit` reports, one an epoch.
        name: the metric; `validation_<name>` is drawn beside it.
        ax: where to draw.
    """
    ax = new_axes(4.5, 3.4) if ax is None else ax
    epochs = [row["epoch"] for row in rows]
    for key, label, color, dash in (
        (name, "training", BLUE, "-"),
        (f"validation_{name}", "validation", ORANGE, "--"),
    ):
        ax.plot(epochs, [row[key] for row in rows], dash, color=color, label=label)
    ax.set(xlabel="epoch", ylabel=UNITS.get(name, name))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    open_frame(ax)
    ax.legend(frameon=False)
    return ax


def confusion_matrix(
    counts: Int[np.ndarray, "classes classes"], names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draws how many cases of each class (row) were taken for each class (column).

    Args:
        counts: from `metrics.confusion_matrix`.
        names: of the classes.
        ax: where to draw.
    """
    counts = np.asarray(counts)
    ax = new_axes(5, 4.6) if ax is None else ax
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=colour)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax
