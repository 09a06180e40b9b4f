"""oneDNN's GRU, the one that PyTorch, TensorFlow and OpenVINO can run on CPUs.

There is no Python interface to it, so a small C++ driver stands between, which is built by hand in
a checkout's `tests/app/onednn` and is no part of the package. Sequences lie time-major and weights
[input, gate, hidden], as in oneDNN's own examples; the layout of the weights that its primitives
read is their own choice. A forward pass finds them packed so, as in any runtime that has loaded a
model; a training step packs them itself, for each step of an optimiser changes them. Results go
into the same arrays each time.
"""

import ctypes
import os
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.app.bench.contender import Contender, Unavailable, pull_back
from gru_jax.app.bench.problem import Problem, Reset, Size
from gru_jax.cells.gru import GRUParams
from gru_jax.interop.gates import join

VARIABLE = "GRU_JAX_ONEDNN"
"""The environment variable that may name the driver."""

BUILT = Path(__file__).parents[3] / "tests" / "app" / "onednn" / "build" / "libgru_onednn.so"
"""Where a checkout has it."""

WEIGHTS = ("layer", "iter", "bias")
ARRAYS = ("xs", "h0", *WEIGHTS, "hs", "weigh", "xs_grad", *(f"{name}_grad" for name in WEIGHTS))


class Arrays(ctypes.Structure):
    """Where the driver finds its arrays; 0 is none."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ARRAYS)


def find() -> Path:
    """Returns where the driver is or should be."""
    return Path(os.environ.get(VARIABLE) or BUILT)


def absent() -> str | None:
    """Returns why the driver is not there and how to build it, None if it is there."""
    if find().is_file():
        return None
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} names no file: {find()}"
    return "not built: apt install libdnnl-dev; make -C tests/app/onednn"


def version() -> str | None:
    """Returns oneDNN's version, None without a driver that loads."""
    try:
        return None if absent() else _load(find()).gru_onednn_version().decode()
    except OSError:
        return None


def build_onednn(problem: Problem, reset: Reset) -> Contender:
    """Builds `gru` ("before") or `lbr_gru` ("after"), on as many threads as there are cores.

    Raises:
        Unavailable: if there is no driver, or oneDNN refuses.
    """
    if reason := absent():
        raise Unavailable(reason)
    size = problem.size

    def convert(params: GRUParams) -> list[Array]:
        W_x, W_h, b, b_state = join(params, "zrc", old=True)
        return [W_x, W_h, jnp.concatenate([b, b_state[-size.hidden :]]) if reset == "after" else b]

    weights = [np.array(value) for value in convert(problem.params_of(reset))]
    grads = [np.zeros_like(value) for value in weights]
    xs, weigh = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (problem.xs, problem.weigh))
    hs, h_next, xs_grad = map(np.zeros_like, (weigh, problem.h, xs))
    inputs = {"xs": xs, **dict(zip(WEIGHTS, weights, strict=True))}
    outputs = {"xs_grad": xs_grad, **{f"{k}_grad": v for k, v in zip(WEIGHTS, grads, strict=True)}}
    network = partial(_network, reset)

    def make_train() -> Callable[[], float]:
        return network(size, **inputs, **outputs, weigh=weigh, hs=hs)

    def swapped(a: np.ndarray) -> np.ndarray:
        return a.swapaxes(0, 1).copy()

    forward = network(size, **inputs, hs=hs)
    step = network(size._replace(time=1), **inputs, h0=problem.h, hs=h_next)

    def run(call: Callable[[], float], result: np.ndarray) -> np.ndarray:
        call()
        return result

    return Contender(
        forward=partial(run, forward, hs),
        hs=swapped,
        step=partial(run, step, h_next),
        train=make_train(),
        gradients=lambda _: (
            pull_back(convert, problem.params_of(reset), [jnp.asarray(grad) for grad in grads]),
            swapped(xs_grad),
        ),
        first_train=lambda: make_train()(),
    )


def _network(reset: Reset, size: Size, **arrays: np.ndarray) -> Callable[[], float]:
    """Makes primitives for these arrays, which it keeps; a call runs them and returns the loss."""
    library, made, loss = _load(find()), ctypes.c_void_p(), ctypes.c_float()
    found = Arrays(**{name: array.ctypes.data for name, array in arrays.items()})
    args = (reset == "after", *size, ctypes.byref(found))
    _check(library.gru_onednn_create(ctypes.byref(made), *args))
    at = ctypes.byref(loss)

    def run() -> float:
        _check(library.gru_onednn_run(made, at))
        return loss.value

    weakref.finalize(run, lambda _: library.gru_onednn_destroy(made), arrays)
    return run


def _check(error: bytes | None) -> None:
    if error is not None:
        raise Unavailable(f"oneDNN: {error.decode()}")


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name in ("version", "create", "run"):
        getattr(library, f"gru_onednn_{name}").restype = ctypes.c_char_p
    return library
