"""The results as a picture. Needs matplotlib."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gru_jax.app.bench.measure import Result
from gru_jax.app.bench.names import FULL_NAMES, MEASURES, Measure, PeerName
from gru_jax.app.bench.problem import AnySize, Size, numbers
from gru_jax.app.bench.report import TITLES
from gru_jax.app.bench.results import relative
from gru_jax.app.bench.timing import spread

COLOURS = "#000000 #0072b2 #332288 #56b4e9 #009e73 #d55e00 #e69f00 #cc79a7 #7f7f7f #8c564b".split()
MARKERS = "ho>s^vDPX<"
STYLES = dict(zip(get_args(PeerName), zip(COLOURS, MARKERS, strict=True), strict=True))
"""Colour and marker by name; most colours are Okabe and Ito's, and the markers differ in grey."""

FORMS = {
    "(before)": "reset gate before the matrix product",
    "(after)": "reset gate after the matrix product",
}
WIDTH = 8.0
"""Inches: about 750 pixels of a page."""


def draw(results: Sequence[Result]) -> Figure:
    """Draws each measure that has ratios, one below the other, with the legends above them."""
    measures: list[Measure] = [measure for measure in MEASURES if relative(results, measure)]
    figure = Figure(figsize=(WIDTH, 1.2 + 3.4 * len(measures)), layout="constrained")
    if measures:
        axes = figure.subplots(len(measures), squeeze=False)[:, 0]
        for ax, measure in zip(axes, measures, strict=True):
            draw_measure(results, measure, ax)
        labels = [label for measure in measures for label in relative(results, measure)]
        _add_legends(figure, labels)
        note = "Marks: medians over the rounds. Lines through them: quartiles."
        figure.supxlabel(note, x=0.99, ha="right", fontsize=9, color="#606060")
    return figure


def draw_measure(results: Sequence[Result], measure: Measure, ax: Axes) -> None:
    """Draws median and quartiles of each contender's times over gru_jax's, by size."""
    ratios = relative(results, measure)
    sizes = list(dict.fromkeys(size for by_size in ratios.values() for size in by_size))
    for number, (label, by_size) in enumerate(ratios.items()):
        name, _, form = label.partition(" ")
        colour, marker = STYLES[name]
        shift = 0.84 * ((number + 0.5) / len(ratios) - 0.5)
        x = [sizes.index(size) + shift for size in by_size]
        y = [spread(values) for values in by_size.values()]
        ax.vlines(x, [s.low for s in y], [s.high for s in y], colour, linewidth=1)
        face = "white" if form == "(after)" else colour
        medians = [s.median for s in y]
        ax.plot(x, medians, marker, color=colour, markerfacecolor=face, label=label)
    ax.axhline(1, color="#000000", linewidth=1.2, zorder=0)
    ax.annotate(
        "gru_jax",
        (1, 1),
        (4, 0),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontweight="bold",
    )
    for column in range(1, len(sizes)):
        ax.axvline(column - 0.5, color="#d0d0d0", linewidth=0.8, zorder=0)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(0.8, low / 1.15), max(2.4, high * 1.15))  # no mark is cut by the axes
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}x"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(range(len(sizes)), list(map(_in_words, sizes)))
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_ylabel("time, as a multiple of gru_jax's\n(higher is slower)")
    ax.set_title(TITLES[measure], loc="left", fontsize="medium", fontweight="bold", pad=10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    ax.tick_params(axis="x", length=0)


def _in_words(size: AnySize) -> str:
    """Returns the size in words, one number a line."""
    batch, time, *space, inputs, units = numbers(size)
    unit = "unit" if isinstance(size, Size) else "channel"
    lines = [f"batch {batch}", _count(time, "step")]
    lines += [f"{space[0]} x {space[1]} pixels"] if space else []
    lines += [_count(inputs, "input"), _count(units, unit)]
    lines += [_count(size.members, "member")] if size.members else []
    return "\n".join(lines + ["resets"] * size.resets)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _add_legends(figure: Figure, labels: Iterable[str]) -> None:
    """Adds an entry for each library, and one for each form, shown by filled or hollow marks."""
    names, _, forms = zip(*(label.partition(" ") for label in labels), strict=True)
    add = partial(
        figure.legend,
        frameon=False,
        fontsize=9,
        title_fontsize=9,
        alignment="left",
        handletextpad=0.2,
        columnspacing=1.0,
        borderpad=0,
    )
    add(
        handles=[_mark(*STYLES[name], FULL_NAMES[name]) for name in STYLES if name in names],
        loc="outside upper left",
        ncols=3,
        title="Colour and shape: the library",
    )
    add(
        handles=[
            _mark("#000000", "o", title, hollow=form == "(after)")
            for form, title in FORMS.items()
            if form in forms
        ],
        loc="outside upper right",
        title="Filled or hollow: the form of the GRU",
    )


def _mark(colour: str, marker: str, label: str, *, hollow: bool = False) -> Line2D:
    face = "white" if hollow else colour
    return Line2D(
        [], [], color=colour, marker=marker, markerfacecolor=face, linestyle="", label=label
    )
