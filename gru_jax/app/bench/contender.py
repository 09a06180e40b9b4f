"""One library in one form, ready to run on one problem, and how one in JAX is made ready.

Each gets its data in the layout of its own defaults, on the device, before any clock runs. JAX's
take their weights as a flat list of arrays, so that none is timed at walking its tree of Python
objects at each call.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gru_jax.app.bench.problem import Problem
from gru_jax.cells.gru import GRUParams


class Unavailable(Exception):
    """A library is there but cannot take part; the message says why."""


class Contender(NamedTuple):
    """What can be timed, each function without arguments and done when it returns.

    Attributes:
        forward: `() -> states`, in the library's layout.
        hs: `(states) -> hs`, batch-major.
        step: `() -> h_next`, one time step.
        train: `() -> result`, the loss and its gradients; None where there are no gradients.
        gradients: `(result) -> (gradients of GRUParams, gradient of xs)`, batch-major.
        first_train: `() -> result`, as `train`, for which nothing has been traced or compiled if
            JAX's caches are empty.
        temp_bytes: `() -> bytes`, the peak of temporaries in a training step; None if unknown.
    """

    forward: Callable[[], Any]
    hs: Callable[[Any], np.ndarray]
    step: Callable[[], Any]
    train: Callable[[], Any] | None = None
    gradients: Callable[[Any], tuple[GRUParams, np.ndarray]] | None = None
    first_train: Callable[[], Any] | None = None
    temp_bytes: Callable[[], int | None] | None = None


class Net(NamedTuple):
    """A GRU written in JAX.

    Attributes:
        convert: `(params) -> weights`, linear, in the library's own tree.
        apply: `(weights, xs) -> hs`.
        step: `(weights, x, h) -> h_next`.
        time_major: whether time is the first axis of `xs` and `hs`.
    """

    convert: Callable[[GRUParams], PyTree]
    apply: Callable[[PyTree, Array], Array]
    step: Callable[[PyTree, Array, Array], Array]
    time_major: bool = False


def prepare(net: Net, params: GRUParams, problem: Problem) -> Contender:
    """Makes a GRU that is written in JAX ready; each function is compiled when first called."""
    leaves, tree = jax.tree.flatten(jax.jit(net.convert)(params))
    layout = _swap if net.time_major else np.asarray
    xs, weigh = (jnp.asarray(layout(a)) for a in (problem.xs, problem.weigh))
    x, h = jnp.asarray(problem.xs[:, 0]), jnp.asarray(problem.h)

    def apply(leaves: list[Array], xs: Array) -> Array:
        return net.apply(tree.unflatten(leaves), xs)

    def step(leaves: list[Array], x: Array, h: Array) -> Array:
        return net.step(tree.unflatten(leaves), x, h)

    def loss_fn(leaves: list[Array], xs: Array, weigh: Array) -> Array:
        return (weigh * apply(leaves, xs)).sum()

    def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        program = cache(lambda: jax.jit(function).lower(*args).compile())
        return lambda: jax.block_until_ready(program()(*args))

    train_args = (leaves, xs, weigh)
    program = cache(lambda: _jit_train(loss_fn).lower(*train_args).compile())

    def temp_bytes() -> int | None:
        try:
            return getattr(program().memory_analysis(), "temp_size_in_bytes", None)
        except (NotImplementedError, jax.errors.JaxRuntimeError):  # not on every device
            return None

    def gradients(result: Any) -> tuple[GRUParams, np.ndarray]:
        _, (grads, xs_grad) = result
        return pull_back(net.convert, params, tree.unflatten(grads)), np.asarray(layout(xs_grad))

    return Contender(
        forward=compiled(apply, leaves, xs),
        hs=lambda states: np.asarray(layout(states)),
        step=compiled(step, leaves, x, h),
        train=lambda: jax.block_until_ready(program()(*train_args)),
        gradients=gradients,
        first_train=lambda: jax.block_until_ready(_jit_train(loss_fn)(*train_args)),
        temp_bytes=temp_bytes,
    )


def pull_back(
    convert: Callable[[GRUParams], PyTree], params: GRUParams, grads: PyTree
) -> GRUParams:
    """Returns a library's gradients as those of our parameters: the transpose of `convert`."""
    return jax.jit(lambda params, grads: jax.vjp(convert, params)[1](grads)[0])(params, grads)


def _jit_train(loss_fn: Callable[..., Array]) -> Any:
    # A new function each time: jit remembers what it has traced by the function itself.
    return jax.jit(jax.value_and_grad(lambda *args: loss_fn(*args), argnums=(0, 1)))


def _swap(a: Any) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(np.asarray(a), 0, 1))
