"""Draws which `done` belongs to which step: `python notebooks/figures/episodes.py`.

It writes episodes.png beside this file, for the guide's page about episodes.
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gru_jax.plot.style import BLUE, DARK, GREEN, ORANGE

PICTURE = Path(__file__).parent / "episodes.png"
EPISODES = "first", "second", "second", "second", "third", "third", "third", "fourth"
"""The episode of each step; the first began in the rollout before."""
COLOURS = {"first": GREEN, "second": BLUE, "third": ORANGE, "fourth": GREEN}
STEPS = len(EPISODES)
DONE = [now != after for now, after in zip(EPISODES, [*EPISODES[1:], "fourth"], strict=True)]
RESETS = [False, *DONE[:-1]]
"""`resets[0]` is the last `done` of the rollout before."""
BOX, LEFT = 0.84, 1.0
STATE, INPUT, DONE_ROW, RESET_ROW = 4.6, 3.2, 1.7, 0.4
"""The lower edges of the rows."""


def draw_box(ax, x, y, colour, text, *, strong=False):
    """Draws a box with a coloured rim and its text."""
    face = (colour, 0.55 if strong else 0.18)
    ax.add_patch(Rectangle((x, y), BOX, 0.7, facecolor=face, edgecolor=colour))
    weight = "bold" if strong else "normal"
    ax.text(x + BOX / 2, y + 0.35, text, size=9, weight=weight, ha="center", va="center")


def draw_arrow(ax, start, end, colour=DARK, **options):
    style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, **options}
    ax.annotate("", end, start, arrowprops=style)


def draw(ax):
    """Draws eight steps of one environment."""
    for t, episode in enumerate(EPISODES):
        x, colour = LEFT + t, COLOURS[episode]
        middle = x + BOX / 2
        draw_box(ax, x, STATE, colour, f"$h_{t}$")
        draw_box(ax, x, INPUT, colour, f"$x_{t}$")
        draw_arrow(ax, (middle, INPUT + 0.7), (middle, STATE), colour)
        draw_box(ax, x, DONE_ROW, colour, str(DONE[t]), strong=DONE[t])
        draw_box(ax, x, RESET_ROW, colour, str(RESETS[t]), strong=RESETS[t])
        start = x - (1 - BOX)
        if RESETS[t]:
            ax.plot((start + 0.08,) * 2, (RESET_ROW - 0.2, STATE + 1.2), "--", color=DARK, lw=1.1)
            ax.text(start + 0.08, STATE + 1.25, "$h = 0$", size=9, ha="center", va="bottom")
        else:
            draw_arrow(ax, (start, STATE + 0.35), (x, STATE + 0.35), DARK, linewidth=1.2)
        if t and DONE[t - 1]:
            draw_arrow(ax, (middle - 1, DONE_ROW), (middle, RESET_ROW + 0.7), DARK, linewidth=1.4)
    for y, text in (
        (STATE, "state"),
        (INPUT, "observation"),
        (DONE_ROW, "done: known\nafter the step"),
        (RESET_ROW, "resets, begins:\nbefore the step"),
    ):
        ax.text(LEFT - 0.3, y + 0.35, text, size=9, ha="right", va="center")
    ax.set(xlim=(-0.75, LEFT + STEPS), ylim=(0, STATE + 1.8))
    ax.set_axis_off()


if __name__ == "__main__":
    figure = Figure(figsize=(9, 4.2))
    draw(figure.add_axes((0, 0, 1, 1)))
    figure.savefig(PICTURE, dpi=150)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1000:.0f} kB")
