"""Whole episodes of an agent, to test it and to look at its gates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gru_jax.agents.environment import Environment
from gru_jax.layers.layer import Layer
from gru_jax.types import Key, Params


class Episodes(NamedTuple):
    """One episode of each environment; steps behind its end are zero."""

    xs: Float[Array, "episode time observation"]
    actions: Int[Array, "episode time"]
    rewards: Float[Array, "episode time"]
    lengths: Int[Array, " episode"]

    @property
    def returns(self) -> Float[Array, " episode"]:
        """The sum of each episode's rewards."""
        return self.rewards.sum(-1)


def play(
    environment: Environment,
    net: Layer,
    params: Params,
    key: Key,
    episodes: int,
    *,
    greedy: bool = True,
    memory: bool = True,
) -> Episodes:
    """Plays episodes side by side, one in each environment.

    Args:
        environment: what to act in.
        net: as for `make_ppo_step`.
        params: its parameters.
        key: draws the episodes and, unless greedy, the actions.
        episodes: how many.
        greedy: take the likeliest action; False draws it.
        memory: as in `PPOOptions`.
    """

    def act(carry: Any, key: Key) -> Any:
        states, xs, begins, memories, alive = carry
        key_action, key_step = jax.random.split(key)
        logits, memories = net.step(params, xs, memories, begins=begins | (not memory))
        logits = logits[:, :-1]
        drawn = jax.random.categorical(key_action, logits)
        actions = jnp.argmax(logits, -1) if greedy else drawn
        keys = jax.random.split(key_step, episodes)
        result = jax.vmap(environment.step)(keys, states, actions)
        shown = (jnp.where(alive[:, None], xs, 0), alive * actions, alive * result.reward, alive)
        alive &= ~(result.terminated | result.truncated)
        return (result.state, result.x, jnp.zeros_like(begins), memories, alive), shown

    key_reset, key_steps = jax.random.split(key)
    states, xs = jax.vmap(environment.reset)(jax.random.split(key_reset, episodes))
    yes = jnp.ones(episodes, bool)
    carry = states, xs, yes, net.initial_state(params, xs.shape), yes
    keys = jax.random.split(key_steps, environment.max_steps)
    _, shown = jax.lax.scan(act, carry, keys)
    xs, actions, rewards, alive = (a.swapaxes(0, 1) for a in shown)
    return Episodes(xs, actions, rewards, alive.sum(-1))
