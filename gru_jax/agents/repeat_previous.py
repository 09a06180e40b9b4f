"""Repeat previous: say which symbol was shown `delay` steps ago.

    x       0 2 1 3 0 1 ...        one of `symbols`, as a one-hot vector
    right   - - 0 2 1 3 ...        delay 2

Each right answer earns the same, all of them together 1. Without memory one guesses.

References:
    Morad et al. (2023), "POPGym: Benchmarking partially observable reinforcement learning", where
    wrong answers cost what right ones earn.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gru_jax.agents.environment import Environment, Step
from gru_jax.ops.checks import check_count
from gru_jax.types import Key


class Shown(NamedTuple):
    """What was shown."""

    symbols: Int[Array, " recent"]
    """The last `delay + 1` symbols, the oldest first."""
    time: Int[Array, ""]


def repeat_previous(delay: int = 4, symbols: int = 4, steps: int = 48) -> Environment:
    """Builds the environment.

    Args:
        delay: how far back the symbol is.
        symbols: how many there are.
        steps: of an episode.

    Raises:
        ValueError: if `delay` or `symbols` is below 1, or `steps` not above `delay`.
    """
    check_count("repeat_previous", "delay", delay)
    check_count("repeat_previous", "symbols", symbols)
    if steps <= delay:
        raise ValueError(f"repeat_previous: steps must be above the delay, {delay}, got {steps}.")
    return Environment(
        "repeat_previous",
        partial(_reset, delay, symbols),
        partial(_step, delay, symbols, steps),
        observation_size=symbols,
        num_actions=symbols,
        max_steps=steps,
        best_return=1.0,
        memoryless_return=1 / symbols,
    )


def _reset(delay: int, symbols: int, key: Key) -> tuple[Shown, Array]:
    first = jax.random.randint(key, (), 0, symbols)
    shown = Shown(jnp.zeros(delay + 1, jnp.int32).at[-1].set(first), jnp.zeros((), jnp.int32))
    return shown, jax.nn.one_hot(first, symbols)


def _step(delay: int, symbols: int, steps: int, key: Key, shown: Shown, action: Array) -> Step:
    right = (shown.time >= delay) & (action == shown.symbols[0])
    reward = jnp.where(right, 1 / (steps - delay), 0.0)
    symbol = jax.random.randint(key, (), 0, symbols)
    shown = Shown(jnp.append(shown.symbols[1:], symbol), shown.time + 1)
    over = shown.time >= steps
    return Step(shown, jax.nn.one_hot(symbol, symbols), reward, over, jnp.zeros((), bool))
