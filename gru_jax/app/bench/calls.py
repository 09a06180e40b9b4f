"""The timed calls: functions without arguments that return when their work is done.

Weights and data are on the device, in the library's own layout, before any clock runs. Programs in
JAX take their weights as a flat list, so that no call walks a tree of Python objects.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gru_jax.app.bench import device
from gru_jax.app.bench.problem import Problem


class Unavailable(Exception):
    """A library is installed but cannot take part; the message says why."""


class Calls(NamedTuple):
    """One contender, ready to run on one problem.

    Attributes:
        forward: `() -> states`, in the library's layout.
        hs: `(states) -> hs`, batch-major.
        weights: `(params) -> arrays`, gru_jax's parameters in the library's layout; it may only
            move and negate numbers.
        train: `() -> result`, the loss and its gradients; None without gradients.
        gradients: `(result) -> (arrays, xs_grad)`, arrays in the order of `weights`, xs_grad
            batch-major.
    """

    forward: Callable[[], Any]
    hs: Callable[[Any], np.ndarray]
    weights: Callable[[Any], list[Any]] = jax.tree.leaves
    train: Callable[[], Any] | None = None
    gradients: Callable[[Any], tuple[list[Any], np.ndarray]] | None = None


def make_jax_calls(
    problem: Problem,
    convert: Callable[[Any], PyTree],
    apply: Callable[..., Array],
    *,
    time_major: bool = False,
    resets: np.ndarray | None = None,
) -> Calls:
    """Makes the calls of a GRU that is written in JAX; each compiles when it first runs.

    Args:
        problem: the weights and data.
        convert: `(params) -> weights`, the library's own tree.
        apply: `(weights, xs) -> hs`, or `(weights, xs, resets) -> hs`.
        time_major: whether time is the first axis of `xs`, `resets` and `hs`.
        resets: as in a problem. They are an argument of the program, or XLA would fold them.
    """
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, convert(problem.params)))
    layout = swap_time if time_major else np.asarray
    xs, weigh = (jnp.asarray(layout(a)) for a in (problem.xs, problem.weigh))
    more = () if resets is None else (jnp.asarray(layout(resets)),)

    def states(leaves: list[Array], xs: Array, *more: Array) -> Array:
        return apply(tree.unflatten(leaves), xs, *more)

    def loss_fn(leaves: list[Array], xs: Array, weigh: Array, *more: Array) -> Array:
        return (weigh * states(leaves, xs, *more)).sum()

    def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        program = cache(lambda: jax.jit(function).lower(*args).compile())
        return lambda: jax.block_until_ready(program()(*args))

    return Calls(
        forward=compiled(states, leaves, xs, *more),
        hs=layout,
        weights=lambda params: jax.tree.leaves(convert(params)),
        train=compiled(jax.value_and_grad(loss_fn, argnums=(0, 1)), leaves, xs, weigh, *more),
        gradients=lambda result: (result[1][0], layout(result[1][1])),
    )


def torch_device() -> str:
    """Returns the name of PyTorch's device, and sets the precision of PyTorch's products there.

    Raises:
        Unavailable: if JAX is on a GPU that PyTorch cannot use.
    """
    import torch

    if device.platform() == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise Unavailable("JAX is on the gpu, and this PyTorch finds none")
    tf32 = device.precision() == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    return "cuda"


def awaited(call: Callable[[], Any]) -> Callable[[], Any]:
    """Returns a call of PyTorch that returns when its work is done; on a GPU it waits for it."""
    import torch

    def wait() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    return call if device.platform() == "cpu" else wait


def swap_time(a: Any) -> np.ndarray:
    """Returns a copy with batch and time exchanged."""
    return np.ascontiguousarray(np.swapaxes(np.asarray(a), 0, 1))
