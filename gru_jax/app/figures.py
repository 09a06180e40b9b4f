"""The figures of a run: the course of training, and the cells at work in one sequence.

Needs matplotlib.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

import gru_jax as gj
from gru_jax import plot
from gru_jax.app.explain import Inspection
from gru_jax.app.tasks.task import Goal
from gru_jax.files import write

FRAMES = 60
"""Steps of a sequence that are animated."""


def draw_training(
    goal: Goal, rows: Sequence[dict[str, float]], confusions: Any, folder: Path, *, random: bool
) -> list[Path]:
    """Draws the learning curves and, of classes, the confusions; returns the paths.

    Args:
        goal: what was measured.
        rows: one an epoch.
        confusions: the confusion matrix, or None.
        folder: for the figures; it is made.
        random: whether the net is random in training.
    """
    folder.mkdir(exist_ok=True)
    names = [name for name in rows[0] if f"validation_{name}" in rows[0]]
    names.sort(key=lambda name: name != "loss")
    curves = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
    for name, ax in zip(names, curves.subplots(1, len(names), squeeze=False)[0], strict=True):
        unit = f" ({goal.units[name]})" if name in goal.units else ""
        plot.learning_curves(rows, name, ax, ylabel=name + unit)
    if random:
        curves.suptitle("regularisation is on only in training", fontsize=10)
    paths = [_save(curves, folder / "learning_curves.png")]
    if confusions:
        counts = np.array(confusions)
        matrix = Figure(figsize=(5, 5), layout="constrained")
        ax = plot.confusion_matrix(counts, goal.classes, matrix.subplots())
        ax.set(xlabel=f"predicted {goal.target}", ylabel=f"true {goal.target}")
        ax.set_title(f"{np.trace(counts)} of {counts.sum()} test {goal.sample}s right")
        paths.append(_save(matrix, folder / "confusion_matrix.png"))
    return paths


def draw_cells(
    goal: Goal, cells: Sequence[Inspection], index: int, name: str, folder: Path
) -> Iterator[Path]:
    """Draws one of the sequences; yields the path of each figure when it is there.

    Args:
        goal: has the names of the net's inputs.
        cells: from `explain.inspect`.
        index: of the sequence.
        name: of the sequence, for the titles.
        folder: for the figures; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    length, inputs = int(cells[0].trace.valid[index].sum()), goal.inputs or None
    traces = [jax.tree.map(lambda a: np.asarray(a)[index, :length], each.trace) for each in cells]
    for each, trace in zip(cells, traces, strict=True):
        figure = Figure(figsize=(7, 7.5), layout="constrained")
        plot.gates(trace, figure.subplots(), inputs=inputs if each.layer == 1 else None)
        title = f"layer {each.layer}, {each.direction}: {name}"
        yield _save(figure, folder / f"gates_{each.layer}_{each.direction}.png", title)

    first = f"layer 1, {cells[0].direction}: {name}"
    change = np.abs(traces[0].h - traces[0].h_before).mean(-1)
    begin = length // 4  # The first steps change a state of zeros the most.
    figure = Figure(figsize=(12, 5.1), layout="constrained")
    busiest = begin + int(change[begin:].argmax())
    plot.step(traces[0], busiest, figure.subplots(), inputs=inputs)
    yield _save(figure, folder / "step.png", first)

    numbers = {
        "timescales": (plot.timescales, lambda each: gj.timescales(each.trace)[index]),
        "gradient_flow": (plot.gradient_flow, lambda each: each.gradients[index, :length]),
    }
    count = cells[-1].layer
    for stem, (draw, number) in numbers.items():
        figure = Figure(figsize=(6.5, 0.6 + 2.2 * count), layout="constrained")
        axes = figure.subplots(count, sharex=True, squeeze=False)[:, 0]
        for layer, ax in enumerate(axes, 1):
            draw({each.direction: number(each) for each in cells if each.layer == layer}, ax)
            ax.set_title(f"layer {layer}", loc="left", fontsize=10)
            ax.label_outer()
            if layer > 1 and (legend := ax.get_legend()):
                legend.remove()  # One says it for all.
        yield _save(figure, folder / f"{stem}.png", f"{stem.replace('_', ' ')}: {name}")

    figure = Figure(figsize=(12, 6.6))
    figure.suptitle(first, fontsize=11)
    start = jax.tree.map(lambda a: a[:FRAMES], traces[0])
    plot.save_gif(plot.animation(start, figure.add_axes((0, 0.07, 1, 0.86))), folder / "step.gif")
    yield folder / "step.gif"


def _save(figure: Figure, path: Path, title: str | None = None) -> Path:
    if title:
        figure.suptitle(title, fontsize=11)
    write(path, partial(figure.savefig, format="png", dpi=150))
    return path
