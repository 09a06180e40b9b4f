"""The noise of a recurrence during training; each draw depends only on its key and position.

Each step's mask is drawn from the key and the step's position. So the masks do not change if the
loop runs in chunks, again for the derivative, or several steps in one iteration. This holds for
JAX's default keys, threefry. Keys of "rbg" draw for many steps at once: their masks are
as random, but depend on the chunk size.

References:
    Zoneout: Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden
    activations". Recurrent dropout: Gal and Ghahramani (2016), "A theoretically grounded
    application of dropout in recurrent neural networks". DropConnect: Merity et al. (2018),
    "Regularizing and optimizing LSTM language models", after Wan et al. (2013).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from gru_jax.types import Key, State


def draw_hold(
    key: Key, rate: float, h: State, times: Int[Array, " time"]
) -> PyTree[Bool[Array, "..."]]:
    """Returns True where zoneout keeps the old state, as [time, *batch, hidden]."""
    return _split_tree(
        key,
        h,
        lambda key, leaf: jax.vmap(lambda t: _draw(jax.random.fold_in(key, t), rate, leaf))(times),
    )


def draw_drop(key: Key, rate: float, h: State) -> State:
    """Returns factors for the state that the gates see, 0 or 1 / (1 - rate), fixed in time."""
    return _split_tree(
        key, h, lambda key, leaf: (1 - _draw(key, rate, leaf).astype(leaf.dtype)) / (1 - rate)
    )


def drop_weights(key: Key, rate: float, weights: PyTree[Array]) -> PyTree[Array]:
    """Drops entries of the weights that act on the state; other weights stay."""
    leaves, structure = jax.tree.flatten_with_path(weights)

    def drop(key: Key, path: Any, leaf: Array) -> Array:
        if not _acts_on_state(path):
            return leaf
        return jnp.where(_draw(key, rate, leaf), 0, leaf / (1 - rate))

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [drop(key, *leaf) for key, leaf in zip(keys, leaves, strict=True)]
    )


def has_state_weights(weights: PyTree[Any]) -> bool:
    """Returns whether any of the packed weights act on the state."""
    return any(_acts_on_state(path) for path, _ in jax.tree.leaves_with_path(weights))


def _acts_on_state(path: Any) -> bool:
    names = (getattr(part, "name", getattr(part, "key", "")) for part in path)
    return any(str(name).startswith(("U_", "u_")) for name in names)


def _draw(key, rate, leaf):
    return jax.random.bernoulli(key, rate, leaf.shape)


def _split_tree(key, tree, draw):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [draw(k, leaf) for k, leaf in zip(keys, leaves, strict=True)]
    )
