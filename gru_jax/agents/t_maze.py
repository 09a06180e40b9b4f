"""The T-maze: a sign at the start says where to turn at the end of a corridor.

                         north
    start  corridor  ...  |       observation    start      corridor   junction
     [sign]--------------[+]                     0 1 1  north   1 0 1      0 1 0
                          |                      1 1 0  south
                         south

A right turn earns 4, a wrong one -0.1; each step in the corridor that gets no closer costs 0.1. A
net without memory cannot know the sign at the junction, so it earns half of 4 - 0.1 at best.

References:
    Bakker (2002), "Reinforcement learning with long short-term memory". The cost of steps that
    do not lead to the junction follows Ni et al. (2023), "When do transformers shine in RL?".
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gru_jax.agents.environment import Environment, Step
from gru_jax.ops.checks import check_count
from gru_jax.types import Key

NORTH, EAST, SOUTH, WEST = range(4)
"""The actions."""
RIGHT, COST = 4.0, 0.1


class Place(NamedTuple):
    """Where the agent is."""

    north: Bool[Array, ""]
    """Whether the sign says north."""
    position: Int[Array, ""]
    """Steps from the start."""
    time: Int[Array, ""]


def t_maze(corridor: int = 20) -> Environment:
    """Builds the T-maze; the shortest episode has `corridor + 1` steps.

    Args:
        corridor: steps from the start to the junction.

    Raises:
        ValueError: if `corridor` is below 1.
    """
    check_count("t_maze", "corridor", corridor)
    max_steps = 3 * corridor + 10
    return Environment(
        "t_maze",
        partial(_reset, corridor),
        partial(_step, corridor, max_steps),
        observation_size=3,
        num_actions=4,
        max_steps=max_steps,
        best_return=RIGHT,
        memoryless_return=(RIGHT - COST) / 2,
    )


def _reset(corridor: int, key: Key) -> tuple[Place, Array]:
    zero = jnp.zeros((), jnp.int32)
    place = Place(jax.random.bernoulli(key), zero, zero)
    return place, _observe(corridor, place)


def _observe(corridor: int, place: Place) -> Float[Array, "3"]:
    north, position, _ = place
    signs = jnp.where(north, jnp.array([0, 1, 1.0]), jnp.array([1, 1, 0.0]))
    junction = jnp.where(position == corridor, jnp.array([0, 1, 0.0]), jnp.array([1, 0, 1.0]))
    return jnp.where(position == 0, signs, junction)


def _step(corridor: int, max_steps: int, _: Key, place: Place, action: Array) -> Step:
    north, position, time = place
    at_junction = position == corridor
    turned = at_junction & ((action == NORTH) | (action == SOUTH))
    right = turned & (north == (action == NORTH))
    move = jnp.where(action == EAST, 1, jnp.where(action == WEST, -1, 0))
    moved = jnp.clip(position + move, 0, corridor)
    reward = jnp.where(right, RIGHT, jnp.where(moved > position, 0.0, -COST))
    place = Place(north, moved, time + 1)
    truncated = ~turned & (place.time >= max_steps)
    return Step(place, _observe(corridor, place), reward, turned, truncated)
