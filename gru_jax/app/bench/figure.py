"""The times as a picture. Needs matplotlib: `pip install 'gru_jax[plot]'`."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gru_jax.app.bench.measure import Entry, Measure, Outcome
from gru_jax.app.bench.peers import OURS, PEERS
from gru_jax.app.bench.problem import Reset
from gru_jax.app.bench.summary import JAX_PEERS, TITLES, label, values_of
from gru_jax.app.bench.timing import ratio, spread

COLOURS = "#000000 #9467bd #0072b2 #56b4e9 #009e73 #d55e00 #e69f00 #cc79a7 #7f7f7f #a6761d".split()
MARKERS = "*hos^vDPX<"
"""By library, in the order of `PEERS`; the shapes tell them apart in grey."""


def draw(outcomes: Sequence[Outcome], measures: Sequence[Measure]) -> Figure:
    """Draws each measure that has values, one below the other, with one legend beside them."""
    names: list[Measure] = [name for name in measures if values_of(outcomes, name)]
    figure = Figure(figsize=(8, 1 + 2.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), squeeze=False)[:, 0] if names else []
    for ax, name in zip(axes, names, strict=True):
        relative(outcomes, name, ax)
    for ax in axes[:-1]:
        ax.set_xlabel("")
    handles = {
        text: h for ax in axes for h, text in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)
    return figure


def relative(outcomes: Sequence[Outcome], name: Measure, ax: Axes | None = None) -> Axes:
    """Draws everybody's values as multiples of what the best JAX peer needs, by size.

    Args:
        outcomes: of all sizes.
        name: the measure.
        ax: where to draw; None is a new figure.
    """
    ax = Figure(figsize=(8, 3.6), layout="constrained").subplots() if ax is None else ax
    values = values_of(outcomes, name)
    sizes = list(dict.fromkeys(entry.size for entry in values))
    who: list[tuple[str, Reset]] = list(dict.fromkeys(entry[1:] for entry in values))
    for place, whose in enumerate(who):
        library, reset = whose
        points = []
        for column, size in enumerate(sizes):
            here = {entry: v for entry, v in values.items() if entry.size == size}
            others = [v for entry, v in here.items() if entry.library in JAX_PEERS]
            if mine := here.get(Entry(size, *whose)):
                best = min(others or here.values(), key=lambda v: spread(v).median)
                x = column + 0.8 * ((place + 0.5) / len(who) - 0.5)
                points.append((x, ratio(mine, best)))
        number = list(PEERS).index(library)
        ax.plot(
            [x for x, _ in points],
            [y for _, y in points],
            MARKERS[number],
            color=COLOURS[number],
            markerfacecolor="white" if reset == "after" else COLOURS[number],
            markersize=9 if library == OURS else 6,
            label=label(library, reset),
        )
    ax.axhline(1, color="#000000", linewidth=0.8, linestyle="--", zorder=0)
    for column in range(1, len(sizes)):
        ax.axvline(column - 0.5, color="#d0d0d0", linewidth=0.8, zorder=0)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(0.8, low / 1.15), max(2.4, high * 1.15))  # No mark is cut by the axes.
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(range(len(sizes)), ["{},{},\n{},{}".format(*size) for size in sizes])
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_xlabel("batch, time, input, hidden")
    ax.set_ylabel(f"{'memory' if name == 'memory' else 'time'} / least of the\nother JAX libraries")
    ax.set_title(TITLES[name], loc="left", fontsize="medium", fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    ax.tick_params(axis="x", length=0)
    return ax
