"""The settings of language."""

import dataclasses
import math
from typing import Annotated, Literal, TypeAlias

from gru_jax.app.tasks.config import FILE, FREE, Config, Range

Kind: TypeAlias = Literal["characters", "bytes"]


@dataclasses.dataclass(frozen=True)
class LanguageConfig(Config):
    """The net; its rate was chosen on the validation part of tiny Shakespeare."""

    data: Annotated[str, FILE] = ""
    """A text. Its end is for the test, and the part before that for validation."""
    tokens: Kind = "characters"
    """What is read and predicted. Characters need UTF-8; bytes take any file."""
    model: Literal["small", "medium", "large"] = "medium"
    """Size of the net, where --embed, --hidden and --layers do not say."""
    embed: Annotated[int | None, Range(1, 10**5)] = None
    """Features of a character."""
    hidden: Annotated[int | None, Range(1, 10**5)] = None
    """Features of each state."""
    layers: Annotated[int | None, Range(1, 100)] = None
    """GRU layers."""
    epochs: Annotated[int, Range(1, 10**6)] = 15
    """Epochs, each of --chunks chunks: it validates and saves after each."""
    patience: Annotated[int, Range(1, 10**6), FREE] = 5
    """Stops after this many epochs without a better validation."""
    batch: Annotated[int, Range(1, 10**5)] = 32
    """Streams: places in the training text that are read in parallel."""
    chunk: Annotated[int, Range(1, 10**6)] = 128
    """Characters that the gradient goes back; the state goes on."""
    chunks: Annotated[int, Range(1, 10**6)] = 200
    """Chunks of each stream in an epoch."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 5e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    dropout: Annotated[float, Range(0, 1), FREE] = 0.2
    """Share of features dropped after each layer, in training."""
    drop_connect: Annotated[float, Range(0, 1), FREE] = 0.0
    """Share of recurrent weights dropped, in training."""
    validation: Annotated[float, Range(0, 1)] = 0.1
    """Share of the text to validate with."""
    test: Annotated[float, Range(0, 1)] = 0.1
    """Share of the text to test with."""
