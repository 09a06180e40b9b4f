"""A long sequence in chunks, one after the other."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.types import State

FEATURES = 2**19
"""Target for rows times steps times features of a chunk, if the sequence is that large. Smaller
products are slow, and the results of larger ones do not stay in the cache."""


def chunk_size(time: int, features: int) -> int:
    """Returns about the square root of the number of steps, and more if a step is small.

    Prefers a nearby size that divides the steps, because cutting off the rest copies all inputs.
    """
    wanted = min(time, max(round(time**0.5), FEATURES // max(1, features)))
    near = range(max(1, wanted // 2), min(time, 2 * wanted) + 1)
    fits = [size for size in near if time % size == 0]
    return min(fits, key=lambda size: abs(math.log(size / wanted)), default=wanted)


def in_chunks(
    piece: Callable[[Any, State, Any], tuple[State, PyTree[Array]]],
    shared: Any,
    h: State,
    steps: Any,
    *,
    size: int,
    reverse: bool,
) -> tuple[State, PyTree[Array]]:
    """Runs a sequence piece by piece; the last piece is shorter if the size does not divide it."""
    count, rest = divmod(jax.tree.leaves(steps)[0].shape[0], size)
    head = jax.tree.map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), steps)
    tail = jax.tree.map(lambda a: a[count * size :], steps)
    parts = []
    if rest and reverse:
        h, hs = piece(shared, h, tail)
        parts.append(hs)
    h, hs = jax.lax.scan(partial(piece, shared), h, head, reverse=reverse)
    parts.insert(0, jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), hs))
    if rest and not reverse:
        h, hs = piece(shared, h, tail)
        parts.append(hs)
    return h, jax.tree.map(lambda *a: jnp.concatenate(a), *parts) if rest else parts[0]
