"""Traces to draw, and a figure as the bytes of a file."""

import io
import warnings

import jax
import numpy as np

import gru_jax as gj

TIME, INPUT, HIDDEN = 20, 3, 7


def make_trace(hidden=HIDDEN, time=TIME, mask=None):
    cell = gj.gru(hidden)
    key, key_b, key_x = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key, INPUT)
    params = params._replace(b_z=jax.random.normal(key_b, (hidden,)) - 1)
    return gj.trace(cell, params, jax.random.normal(key_x, (time, INPUT)), mask=mask)


TAPE = make_trace()
HOLES = make_trace(mask=np.isin(np.arange(TIME), (0, 7, 18, 19), invert=True))


def with_gates(trace, **values):
    """Returns the trace with other values of these gates."""
    return trace._replace(gates=trace.gates._replace(**values))


def save(figure):
    """Returns the bytes of a figure; a warning is an error."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(file, format="png")
    return file.getvalue()
