"""Draws a forward step of the GPU kernel, in a cluster: `python notebooks/figures/cluster.py`.

It writes cluster.png beside this file, for the guide's page about backends.
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gru_jax.plot.style import BLUE, DARK, GREEN, ORANGE, PURPLE

PICTURE = Path(__file__).parent / "cluster.png"
FEATURES, BLOCKS = 256, 4
UNITS = FEATURES // BLOCKS
COLOURS = BLUE, ORANGE, GREEN, PURPLE
WIDTH, GAP, LEFT = 4.0, 0.8, 5.6
OLD, WEIGHTS, GATES, NEW, BARRIER = 8.9, 6.4, 4.8, 1.2, 0.5
"""The lower edges of the rows of boxes, and the line below them."""


def draw_box(ax, x, y, width, height, colour, text="", size=8.5):
    """Draws a pale box with a coloured rim and its text."""
    ax.add_patch(Rectangle((x, y), width, height, facecolor=(colour, 0.25), edgecolor=colour))
    ax.text(x + width / 2, y + height / 2, text, size=size, ha="center", va="center")


def draw_state(ax, x, y):
    """Draws the state in a block's shared memory: a part for each block of the cluster."""
    part = WIDTH / BLOCKS
    for number, colour in enumerate(COLOURS):
        draw_box(ax, x + number * part, y, part, 0.8, colour, f"{number + 1}")


def draw_arrow(ax, start, end, colour=DARK, **options):
    style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, **options}
    ax.annotate("", end, start, arrowprops=style)


def draw(ax):
    """Draws the step."""
    for number, colour in enumerate(COLOURS):
        x = LEFT + number * (WIDTH + GAP)
        middle = x + WIDTH / 2
        ax.text(middle, OLD + 1.3, f"block {number + 1}", size=10, weight="bold", ha="center")
        draw_state(ax, x, OLD)
        draw_arrow(ax, (middle, OLD), (middle, WEIGHTS + 1.8))
        text = f"weights of units\n{number * UNITS} to {(number + 1) * UNITS - 1}"
        draw_box(ax, x, WEIGHTS, WIDTH, 1.8, colour, text, 9)
        draw_arrow(ax, (middle, WEIGHTS), (middle, GATES + 0.9))
        draw_box(ax, x + 0.5, GATES, WIDTH - 1, 0.9, colour, "r, z, c, $h_t$")
        draw_state(ax, x, NEW)
        part = WIDTH / BLOCKS
        for other in range(BLOCKS):
            end = LEFT + other * (WIDTH + GAP) + (number + 0.5) * part, NEW + 0.8
            draw_arrow(ax, (middle, GATES), end, colour, linewidth=1.1, alpha=0.9)
    right = LEFT + BLOCKS * (WIDTH + GAP) - GAP
    ax.plot((LEFT, right), (BARRIER, BARRIER), "--", color=DARK, linewidth=1.2)
    for y, text in (
        (OLD + 0.4, "shared memory: all of $h_{t-1}$"),
        (WEIGHTS + 0.9, "registers: loaded once,\nkept through all steps"),
        (GATES + 0.45, "gates of the block's units,\nwith x W from XLA"),
        (GATES - 1.2, "to the shared memory\nof every block"),
        (BARRIER, "one barrier ends the step"),
        (NEW + 0.4, "shared memory: all of $h_t$"),
    ):
        ax.text(LEFT - 0.4, y, text, size=9, ha="right", va="center")
    ax.set(xlim=(0, right + 0.1), ylim=(BARRIER - 0.4, OLD + 1.9))
    ax.set_axis_off()


if __name__ == "__main__":
    figure = Figure(figsize=(9, 4.6))
    draw(figure.add_axes((0, 0, 1, 1)))
    figure.savefig(PICTURE, dpi=150)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1000:.0f} kB")
