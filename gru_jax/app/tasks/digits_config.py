"""The settings of moving digits."""

import dataclasses
import math
from typing import Annotated

from gru_jax.app.tasks.config import FREE, Config, Range

SIZE = 32
"""Side of the frames, in pixels."""


@dataclasses.dataclass(frozen=True)
class DigitsConfig(Config):
    """The net and its data; the defaults were chosen on the validation sequences."""

    epochs: Annotated[int, Range(1, 10**6)] = 32
    """Epochs; each draws new training sequences."""
    batch: Annotated[int, Range(1, 10**5), FREE] = 8
    """Sequences in a batch."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 5e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: Annotated[float, Range(0, math.inf), FREE] = 0.0
    """Decoupled weight decay of AdamW."""
    sequences: Annotated[int, Range(1, 10**7)] = 512
    """Training sequences in an epoch."""
    channels: Annotated[int, Range(1, 10**5)] = 64
    """Channels of each state."""
    layers: Annotated[int, Range(1, 100)] = 1
    """Convolutional GRU layers."""
    block: Annotated[int, Range(1, SIZE + 1)] = 4
    """Side of the blocks of pixels in frames of 32 x 32; each becomes one pixel of the state."""
    coordinates: bool = False
    """Let each gate see the pixels' coordinates (CoordConv)."""
