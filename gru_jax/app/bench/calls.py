"""The timed calls: functions without arguments that return when their work is done.

Weights and data are on the device, in the library's own layout, before any clock runs. Programs in
JAX take their weights as a flat list, so that no call walks a tree of Python objects.
"""

from collections.abc import Callable
from functools import cache, partial
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
        train: `() -> result`, the loss and its gradients; None without gradients. The members of an
            ensemble have a loss each.
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

    An ensemble is the `vmap` of one member's functions over weights and data.

    Args:
        problem: the weights and data.
        convert: `(params) -> weights`, the library's own tree; of one member.
        apply: `(weights, xs) -> hs`, or `(weights, xs, resets) -> hs`; of one member.
        time_major: whether time is the first axis of a member's `xs`, `resets` and `hs`.
        resets: as in a problem. They are an argument of the program, or XLA would fold them.
    """
    ensemble = bool(problem.size.members)

    def convert_all(params: Any) -> PyTree:
        each = [convert(member) for member in problem.split(params)]
        return jax.tree.map(lambda *a: np.stack(a), *each) if ensemble else each[0]

    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, convert_all(problem.params)))
    layout = partial(swap_time, axis=int(ensemble)) if time_major else np.asarray
    xs, weigh = (jnp.asarray(layout(a)) for a in (problem.xs, problem.weigh))
    more = () if resets is None else (jnp.asarray(layout(resets)),)

    def states(leaves: list[Array], xs: Array, *more: Array) -> Array:
        return apply(tree.unflatten(leaves), xs, *more)

    def loss_fn(leaves: list[Array], xs: Array, weigh: Array, *more: Array) -> Array:
        return (weigh * states(leaves, xs, *more)).sum()

    functions = states, jax.value_and_grad(loss_fn, argnums=(0, 1))
    forward, train = map(jax.vmap, functions) if ensemble else functions

    def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        program = cache(lambda: jax.jit(function).lower(*args).compile())
        return lambda: jax.block_until_ready(program()(*args))

    return Calls(
        forward=compiled(forward, leaves, xs, *more),
        hs=layout,
        weights=lambda params: jax.tree.leaves(convert_all(params)),
        train=compiled(train, leaves, xs, weigh, *more),
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


def swap_time(a: Any, axis: int = 0) -> np.ndarray:
    """Returns a copy with batch and time exchanged, the axes from `axis` on."""
    return np.ascontiguousarray(np.swapaxes(np.asarray(a), axis, axis + 1))
