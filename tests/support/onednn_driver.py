"""oneDNN's GRU, which PyTorch, TensorFlow and OpenVINO run on CPUs, as a contender.

Python has no interface to it, so the C++ driver of tests/app/onednn stands between. Sequences are
time-major and weights [input, gate, hidden], as in oneDNN's own examples. Results go into the same
arrays each time.
"""

import ctypes
import subprocess
import weakref
from functools import partial
from pathlib import Path

import numpy as np

from gru_jax.app.bench.calls import Calls, Unavailable, swap_time
from gru_jax.app.bench.problem import numbers

SOURCE = Path(__file__).parent.parent / "app" / "onednn"
WEIGHTS = ("layer", "iter", "bias")
ARRAYS = ("xs", "h0", *WEIGHTS, "hs", "weigh", "xs_grad", *(f"{name}_grad" for name in WEIGHTS))


class Arrays(ctypes.Structure):
    """The addresses of the driver's arrays; 0 is none."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ARRAYS)


def build(folder):
    """Compiles the driver into a folder; returns its path."""
    path = folder / "libgru_onednn.so"
    subprocess.run(["make", "-C", SOURCE, f"TARGET={path}"], check=True)
    return path


def version(path):
    """Returns oneDNN's version."""
    return _load(path).gru_onednn_version().decode()


def convert(params):
    """Returns weights of x, weights of h and biases: columns z, r, c, z on the old state."""
    W_r, b_r, W_z, b_z, W_c, b_c, b_h = params
    hidden = len(b_c)
    W = np.concatenate([-np.asarray(W_z), W_r, W_c], axis=1)
    b = np.concatenate([-np.asarray(b_z), b_r, b_c, *([] if b_h is None else [b_h])])
    return [np.ascontiguousarray(a) for a in (W[:-hidden], W[-hidden:], b)]


def make_onednn(path, problem):
    """Sets up `gru` ("before") or `lbr_gru` ("after") of the driver at `path`.

    Raises:
        Unavailable: if oneDNN refuses.
    """
    weights = convert(problem.params)
    grads = [np.zeros_like(value) for value in weights]
    xs, weigh = swap_time(problem.xs), swap_time(problem.weigh)
    hs, xs_grad = np.zeros_like(weigh), np.zeros_like(xs)
    inputs = {"xs": xs, **dict(zip(WEIGHTS, weights, strict=True))}
    outputs = {"xs_grad": xs_grad, **{f"{k}_grad": v for k, v in zip(WEIGHTS, grads, strict=True)}}
    network = partial(_network, _load(path), problem.params.b_h is not None)
    forward = network(numbers(problem.size), **inputs, hs=hs)
    return Calls(
        forward=lambda: (forward(), hs)[1],
        hs=swap_time,
        weights=convert,
        train=network(numbers(problem.size), **inputs, **outputs, weigh=weigh, hs=hs),
        gradients=lambda _: ([np.array(grad) for grad in grads], swap_time(xs_grad)),
    )


def _network(library, after, size, **arrays):
    """Makes primitives for these arrays, which it keeps; a call runs them and returns the loss."""
    network, loss = ctypes.c_void_p(), ctypes.c_float()
    pointers = Arrays(**{name: array.ctypes.data for name, array in arrays.items()})
    args = (after, *size, ctypes.byref(pointers))
    _check(library.gru_onednn_create(ctypes.byref(network), *args))

    def run():
        _check(library.gru_onednn_run(network, ctypes.byref(loss)))
        return loss.value

    weakref.finalize(run, lambda _: library.gru_onednn_destroy(network), arrays)
    return run


def _check(error):
    if error is not None:
        raise Unavailable(f"oneDNN: {error.decode()}")


def _load(path):
    library = ctypes.CDLL(str(path))
    for name in ("version", "create", "run"):
        getattr(library, f"gru_onednn_{name}").restype = ctypes.c_char_p
    return library
