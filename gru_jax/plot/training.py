"""The course of training: metrics over epochs, and the confusions of classes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes

from gru_jax.plot.style import ink, lines, new_axes, open_frame, whole_numbers


def learning_curves(
    rows: Sequence[dict[str, float]],
    name: str = "loss",
    ax: Axes | None = None,
    *,
    ylabel: str | None = None,
) -> Axes:
    """Draws a metric over epochs, in training and, where there is one, in validation.

    Args:
        rows: those that `fit` reports, one an epoch.
        name: the metric; `validation_<name>` is drawn beside it.
        ax: where to draw.
        ylabel: what the metric is, with its unit, e.g. "loss (nats)"; None is its name.

    Raises:
        ValueError: if the rows do not have this metric.
    """
    if not rows or name not in rows[0]:
        known = ", ".join(rows[0]) if rows else "no rows"
        raise ValueError(
            f"learning_curves: name must be a metric of the rows ({known}), got {name!r}."
        )
    ax = new_axes(4.5, 3.4) if ax is None else ax
    marker = "." if len(rows) == 1 else None  # No line shows one epoch.
    epochs = [row["epoch"] for row in rows]
    for label, line in zip(("training", "validation"), lines(), strict=False):
        key = name if label == "training" else f"validation_{name}"
        if key in rows[0]:
            ax.plot(epochs, [row[key] for row in rows], label=label, marker=marker, **line)
    ax.set(xlabel="epoch", ylabel=ylabel or name)
    ax.xaxis.set_major_locator(whole_numbers(len(rows)))
    open_frame(ax)
    return ax


def confusion_matrix(
    counts: Int[np.ndarray, "classes classes"], names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draws how many cases of each class (row) were taken for each class (column).

    Args:
        counts: from `metrics.confusion_matrix`.
        names: of the classes.
        ax: where to draw.

    Raises:
        ValueError: if there is not one name for each class.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(names), len(names)):
        raise ValueError(
            f"confusion_matrix: counts must be {(len(names), len(names))} to match names, "
            f"got {counts.shape}."
        )
    ax = new_axes(5, 4.6) if ax is None else ax
    # In points; a digit and a letter are about 0.6 of their size wide.
    cell = 72 / ax.figure.dpi * min(ax.bbox.size) / len(names)
    name_size = min(10, 0.9 * cell)
    turned = 0.6 * name_size * max(map(len, names)) > cell
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = ink(image.to_rgba(shares[row, column]))
            size = min(10, 0.8 * cell, 1.4 * cell / len(str(count)))
            ax.text(column, row, str(count), ha="center", va="center", color=colour, size=size)
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    ax.set_xticks(range(len(names)), names, size=name_size, **turn)
    ax.set_yticks(range(len(names)), names, size=name_size)
    ax.set(xlabel="predicted", ylabel="true")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax
