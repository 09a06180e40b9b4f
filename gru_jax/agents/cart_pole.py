"""Cart-pole with hidden velocities: balance a pole on a cart from positions alone.

    x = [position of the cart / 2.4 m, angle of the pole / 12 degrees]

The cart is pushed left (0) or right (1) with 10 N, 50 times a second. Each step earns 1. The
episode ends when the cart leaves the track or the pole leans too far, and is cut off after 500
steps. Velocities, without which the pole falls, must be remembered from earlier positions.

References:
    Barto, Sutton and Anderson (1983), "Neuronlike adaptive elements that can solve difficult
    learning control problems", for the equations without friction and the constants.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gru_jax.agents.environment import Environment, Step
from gru_jax.types import Key

GRAVITY, FORCE, STEP = 9.8, 10.0, 0.02
"""In m/s^2, N and s."""
CART, POLE, HALF_LENGTH = 1.0, 0.1, 0.5
"""Masses in kg, and half the length of the pole in m."""
TRACK, LEAN = 2.4, 12 * jnp.pi / 180
"""The largest position in m and angle in radians."""
MAX_STEPS = 500


class Motion(NamedTuple):
    """The state of cart and pole, in m, m/s, radians and radians/s."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]
    angle: Float[Array, ""]
    spin: Float[Array, ""]
    time: Int[Array, ""]


def cart_pole() -> Environment:
    """Builds the environment."""
    return Environment("cart_pole", _reset, _step, 2, 2, MAX_STEPS, best_return=float(MAX_STEPS))


def _reset(key: Key) -> tuple[Motion, Array]:
    start = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
    motion = Motion(start[0], start[1], start[2], start[3], jnp.zeros((), jnp.int32))
    return motion, _observe(motion)


def _observe(motion: Motion) -> Float[Array, "2"]:
    return jnp.stack([motion.position / TRACK, motion.angle / LEAN])


def _step(_: Key, motion: Motion, action: Array) -> Step:
    position, velocity, angle, spin, time = motion
    force = jnp.where(action == 1, FORCE, -FORCE)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    total = CART + POLE
    push = (force + POLE * HALF_LENGTH * spin**2 * sin) / total
    lever = HALF_LENGTH * (4 / 3 - POLE * cos**2 / total)
    spin_rate = (GRAVITY * sin - cos * push) / lever
    velocity_rate = push - POLE * HALF_LENGTH * spin_rate * cos / total
    motion = Motion(
        position + STEP * velocity,
        velocity + STEP * velocity_rate,
        angle + STEP * spin,
        spin + STEP * spin_rate,
        time + 1,
    )
    fell = (abs(motion.position) > TRACK) | (abs(motion.angle) > LEAN)
    truncated = ~fell & (motion.time >= MAX_STEPS)
    return Step(motion, _observe(motion), jnp.ones(()), fell, truncated)
