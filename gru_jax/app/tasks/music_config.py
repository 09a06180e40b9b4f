"""The settings of music."""

import dataclasses
import math
from typing import Annotated

from gru_jax.app.tasks.config import FILE, FREE, Config, Range


@dataclasses.dataclass(frozen=True)
class MusicConfig(Config):
    """The net; its defaults were chosen on the validation part of JSB Chorales."""

    data: Annotated[str, FILE] = ""
    """A .mat file of Boulanger-Lewandowski: traindata, validdata and testdata, each of pieces
    [time, notes], 1 where a note sounds and else 0."""
    epochs: Annotated[int, Range(1, 10**6)] = 60
    """Passes over the training data."""
    batch: Annotated[int, Range(1, 10**5), FREE] = 8
    """Pieces in a batch."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 2e-2
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    hidden: Annotated[int, Range(1, 10**5)] = 46
    """Features of each state."""
    layers: Annotated[int, Range(1, 100)] = 1
    """GRU layers."""
    dropout: Annotated[float, Range(0, 1), FREE] = 0.2
    """Share of features dropped after each layer, in training."""
    drop_connect: Annotated[float, Range(0, 1), FREE] = 0.3
    """Share of recurrent weights dropped, in training."""
