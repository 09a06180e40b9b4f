"""The settings of classify and JapaneseVowels, without JAX: --help needs them alone."""

import dataclasses
import math
from typing import Annotated, Literal

from gru_jax.app.tasks.config import FILE, FREE, Config, Range


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(Config):
    """The net."""

    hidden: Annotated[int | None, Range(1, 10**5)] = None
    """Features of the state, in each direction. Default: those of --model."""
    layers: Annotated[int | None, Range(1, 100)] = None
    """Bidirectional GRU layers. Default: those of --model."""
    reset: Literal["before", "after"] = "before"
    """Whether the reset gate acts before or after the product with the state; PyTorch's and Keras's
    weights need after."""
    noise: Annotated[float, Range(0, math.inf), FREE] = 0.1
    """Standard deviation of the noise on the standardised inputs, in training."""
    dropout: Annotated[float, Range(0, 1), FREE] = 0.5
    """Share of features dropped between layers and before the head, in training."""
    label_smoothing: Annotated[float, Range(0, 1), FREE] = 0.1
    """Share of each label's weight that is spread over all classes."""
    validation: Annotated[float, Range(0, 1)] = 0.1
    """Share of each class's training sequences kept for validation."""


@dataclasses.dataclass(frozen=True)
class VowelsConfig(ClassifierConfig):
    """The net; its defaults were chosen on parts of the training set alone."""

    hidden: Annotated[int, Range(1, 10**5)] = 64
    """Features of the state, in each direction."""
    layers: Annotated[int, Range(1, 100)] = 3
    """Bidirectional GRU layers."""
    noise: Annotated[float, Range(0, math.inf), FREE] = 0.8
    """Standard deviation of the noise on the standardised inputs, in training."""


@dataclasses.dataclass(frozen=True)
class DataConfig(ClassifierConfig):
    """The data."""

    data: Annotated[str | None, FILE] = None
    """Sequences with labels: a long .csv, .tsv or .parquet (a row is a step), .ts, .arff or .npz.
    Default: JapaneseVowels."""
    test: Annotated[str | None, FILE] = None
    """Another such file to test on. Default: a share of --data."""
    test_share: Annotated[float, Range(0, 1)] = 0.2
    """Share of each class in --data to test on, drawn by --seed."""
    label: str = "label"
    """Column of a table with the class, or number, of the case: the same in all its rows."""
    case: str = "case"
    """Column with the name of the case that the row belongs to."""
    time: str = "time"
    """Column of numbers or ISO dates that rise within a case; '' keeps the rows in file order."""
    channels: Annotated[tuple[str, ...], "NAME"] = ()
    """Columns of the numbers to learn from; of other files, the channels' names. Default: all."""
    regression: bool = False
    """Predict a number. Labels with decimals are numbers anyway; whole ones are classes."""


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(DataConfig):
    """The net; its size in a word."""

    batch: Annotated[int, Range(1, 10**5), FREE] = 16
    """Sequences in a batch."""
    model: Literal["small", "medium", "large"] = "medium"
    """Layers and features: 1 of 32, 2 of 64 or 3 of 128; --layers and --hidden override it."""
    validation: Annotated[float, Range(0, 1)] = 0.2
    """Share of each class's training sequences kept for validation."""
    class_weights: Annotated[Literal["none", "balanced"], FREE] = "none"
    """Weights of cases in the loss: all the same, or such that all classes count the same."""
