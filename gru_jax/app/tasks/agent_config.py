"""The settings of an agent."""

import dataclasses
import math
from typing import Annotated, Literal

from gru_jax.app.tasks.config import FREE, Config, Range


@dataclasses.dataclass(frozen=True)
class AgentConfig(Config):
    """The environment, the agent and PPO; the defaults were chosen on training returns."""

    epochs: Annotated[int, Range(1, 10**6)] = 40
    """Epochs of --updates updates; each is followed by validation."""
    patience: Annotated[int, Range(1, 10**6), FREE] = 1000
    """Stops after this many epochs without a better validation."""
    batch: Annotated[int, Range(1, 10**5)] = 64
    """Environments that run at once."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 3e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: Annotated[float, Range(0, math.inf), FREE] = 0.0
    """Decoupled weight decay of AdamW."""
    env: Literal["tmaze", "repeat_previous", "cart_pole"] = "tmaze"
    """Environment: a T-maze, a memory game, or a pole on a cart whose velocities are hidden."""
    corridor: Annotated[int, Range(1, 10**5)] = 20
    """Steps from the sign to the junction of the T-maze."""
    delay: Annotated[int, Range(1, 10**4)] = 4
    """How far back the symbol is that repeat_previous asks for."""
    hidden: Annotated[int, Range(1, 10**5)] = 64
    """Features of the GRU's state."""
    memory: Literal["gru", "none"] = "gru"
    """none puts the state back to zero before each step: the same net without memory."""
    updates: Annotated[int, Range(1, 10**6)] = 10
    """Updates of PPO in an epoch."""
    steps: Annotated[int, Range(1, 10**6), FREE] = 128
    """Steps of a rollout, in each environment."""
    passes: Annotated[int, Range(1, 1000), FREE] = 4
    """Passes over a rollout."""
    minibatches: Annotated[int, Range(1, 10**5)] = 4
    """Parts of the environments in a pass; each is one gradient step."""
    discount: Annotated[float, Range(0, 1.0000001), FREE] = 0.99
    """Factor of a reward for each step that it is later."""
    entropy: Annotated[float, Range(0, math.inf), FREE] = 0.01
    """Weight of the policy's entropy in the loss."""
