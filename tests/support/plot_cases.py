"""Traces to draw, the numbers in a drawn diagram, and a figure as the bytes of a file."""

import io
import warnings

import jax
import numpy as np
import pytest
from matplotlib.patches import Rectangle

import gru_jax as gj
from gru_jax.plot.diagram import HEIGHT, WIDTH

TIME, INPUT, HIDDEN = 20, 3, 7


def make_trace(hidden=HIDDEN, time=TIME, mask=None, *, channels=INPUT, reset="before"):
    cell = gj.gru(hidden, reset=reset)
    key, key_b, key_x = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key, channels)
    params = params._replace(b_z=jax.random.normal(key_b, (hidden,)) - 1)
    return gj.trace(cell, params, jax.random.normal(key_x, (time, channels)), mask=mask)


TAPE = make_trace()
HOLES = make_trace(mask=np.isin(np.arange(TIME), (0, 7, 18, 19), invert=True))


def with_gates(trace, **values):
    """Returns the trace with other values of these gates."""
    return trace._replace(gates=trace.gates._replace(**values))


def columns(ax):
    """The numbers of each column of cells, from top to bottom, by where it stands."""
    found = {}
    for text in sorted(ax.texts, key=lambda text: -text.get_position()[1]):
        x, y = text.get_position()
        cell = [
            p for p in boxes(ax) if p.get_xy() == pytest.approx((x - WIDTH / 2, y - HEIGHT / 2))
        ]
        if cell:
            found.setdefault(x, []).append(float(text.get_text().replace("\N{MINUS SIGN}", "-")))
    return found


def boxes(ax):
    size = (WIDTH, HEIGHT)
    patches = (p for p in ax.patches if isinstance(p, Rectangle))
    return [p for p in patches if (p.get_width(), p.get_height()) == pytest.approx(size)]


def save(figure):
    """Returns the bytes of a figure; a warning is an error."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(file, format="png")
    return file.getvalue()
