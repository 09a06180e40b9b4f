"""The results as a picture. Needs matplotlib."""

from collections.abc import Sequence
from typing import get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gru_jax.app.bench.contenders import PeerName
from gru_jax.app.bench.measure import MEASURES, Measure, Result
from gru_jax.app.bench.report import TITLES, in_pairs
from gru_jax.app.bench.results import relative
from gru_jax.app.bench.timing import spread

COLOURS = "#9467bd #0072b2 #56b4e9 #009e73 #d55e00 #e69f00 #cc79a7 #7f7f7f #8c564b".split()
MARKERS = "hos^vDPX<"
STYLES = dict(zip(get_args(PeerName), zip(COLOURS, MARKERS, strict=True), strict=True))
"""Colour and marker by name; the markers tell them apart in grey."""


def draw(results: Sequence[Result]) -> Figure:
    """Draws each measure that has ratios, one below the other, with one legend beside them."""
    measures: list[Measure] = [measure for measure in MEASURES if relative(results, measure)]
    figure = Figure(figsize=(8, 1 + 2.6 * len(measures)), layout="constrained")
    axes = figure.subplots(len(measures), squeeze=False)[:, 0] if measures else []
    handles = {}
    for ax, measure in zip(axes, measures, strict=True):
        draw_measure(results, measure, ax)
        handles |= {label: h for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)
    return figure


def draw_measure(results: Sequence[Result], measure: Measure, ax: Axes) -> None:
    """Draws median and quartiles of each contender's times over gru_jax's, by size."""
    ratios = relative(results, measure)
    sizes = list(dict.fromkeys(size for by_size in ratios.values() for size in by_size))
    for number, (label, by_size) in enumerate(ratios.items()):
        name, _, form = label.partition(" ")
        colour, marker = STYLES[name]
        shift = 0.8 * ((number + 0.5) / len(ratios) - 0.5)
        x = [sizes.index(size) + shift for size in by_size]
        y = [spread(values) for values in by_size.values()]
        face = "white" if form == "(after)" else colour
        ax.vlines(x, [s.low for s in y], [s.high for s in y], colour, linewidth=1)
        medians = [s.median for s in y]
        ax.plot(x, medians, marker, color=colour, markerfacecolor=face, label=label)
    ax.axhline(1, color="#000000", linewidth=0.8, linestyle="--", zorder=0)
    for column in range(1, len(sizes)):
        ax.axvline(column - 0.5, color="#d0d0d0", linewidth=0.8, zorder=0)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(0.8, low / 1.15), max(2.4, high * 1.15))  # no mark is cut by the axes
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(range(len(sizes)), list(map(in_pairs, sizes)))
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_ylabel("time / gru_jax, same form")
    ax.set_title(TITLES[measure], loc="left", fontsize="medium", fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    ax.tick_params(axis="x", length=0)
