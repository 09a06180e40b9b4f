"""The contract of an environment: two pure functions of one episode.

    reset(key) -> state, x            the first observation
    step(key, state, action) -> Step  the next one, the reward, and whether the episode is over

`jax.vmap` runs many at once. Whoever steps it begins a new episode after the last step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gru_jax.types import Key


class Step(NamedTuple):
    """The result of one step."""

    state: Any
    x: Float[Array, " observation"]
    """The observation after the step, also after the last one."""
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    """Whether the episode has ended: nothing follows, so its value is 0."""
    truncated: Bool[Array, ""]
    """Whether the episode was cut off at `max_steps`: it would go on, and its value is not 0."""


class Environment(NamedTuple):
    """A problem for an agent.

    Attributes:
        name: its name.
        reset: `(key) -> (state, x)`, the state and the observation at the start of an episode.
        step: `(key, state, action) -> Step`; actions are 0, ..., num_actions - 1.
        observation_size: features of an observation.
        num_actions: number of actions.
        max_steps: the longest episode.
        best_return: the highest mean return, the sum of an episode's rewards.
        memoryless_return: the highest mean return without memory; None if unknown.
    """

    name: str
    reset: Callable[[Key], tuple[Any, Array]]
    step: Callable[[Key, Any, Array], Step]
    observation_size: int
    num_actions: int
    max_steps: int
    best_return: float
    memoryless_return: float | None = None


def choose(done: Bool[Array, " environment"], new: Any, old: Any) -> Any:
    """Returns a tree with the environments of `new` where an episode is over, else of `old`."""

    def one(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(one, new, old)
