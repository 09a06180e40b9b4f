"""What can be trained: a task is a value, so that another one is another value.

    load(config)       -> Parts of raw sequences         statistics(train) -> what prepare needs
    make_net(config)   -> net                            prepare(statistics, sequences) -> inputs
    apply(net, inputs) -> outputs                        loss, metrics, predict: of the outputs

Runs, evaluation, prediction and explanation know a task by these functions alone.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax import Key, Params, Row

Arrays: TypeAlias = Array | np.ndarray
Statistics: TypeAlias = dict[str, list[float]]
AnyConfig = TypeVar("AnyConfig", bound="Config")


class Range(NamedTuple):
    """The least value of a setting, and the one that it stays below."""

    least: float
    below: float


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of any run; a task's own class adds to them."""

    seed: Annotated[int, Range(0, 2**32)] = 0
    """Seeds the split, the parameters, the order of the data, noise and dropout."""
    epochs: Annotated[int, Range(1, 10**6)] = 60
    """Passes over the training data."""
    patience: Annotated[int, Range(1, 10**6)] = 30
    """Stops after this many epochs without a better validation."""
    batch: Annotated[int, Range(1, 10**5)] = 32
    """Sequences in a batch."""
    learning_rate: Annotated[float, Range(0, math.inf)] = 3e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: Annotated[float, Range(0, math.inf)] = 1e-2
    """Decoupled weight decay of AdamW."""


def check(config: AnyConfig) -> AnyConfig:
    """Returns the settings; raises ValueError if one has another type or is out of its range."""
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value, (kind, *marks) = getattr(config, name), get_args(hint) or (hint,)
        if get_origin(hint) is Literal:
            right, needed = value in get_args(hint), f"one of {', '.join(map(str, get_args(hint)))}"
        elif kind in (int, float):
            (least, below), whole = marks[0], kind is int
            right = type(value) in ((int,) if whole else (int, float)) and least <= value < below
            needed = f"a {'whole ' if whole else ''}number from {least} to below {below}"
        else:
            right, needed = type(value) is kind, f"a {kind.__name__}"
        if not right:
            raise ValueError(f"train: {name} must be {needed}, got {value!r}.")
    return config


class Parts(NamedTuple):
    """The data of a task, as its source has them."""

    train: gj.Dataset
    validation: gj.Dataset
    test: gj.Dataset


def apply(net: gj.Layer, params: Params, xs: Arrays, lengths: Arrays, key: Key | None) -> Array:
    """Returns the net's outputs: the usual `Task.apply`."""
    return net.apply(params, xs, lengths=lengths, key=key)[0]


class Published(NamedTuple):
    """Somebody's value of the metric that a task monitors."""

    model: str
    value: float
    source: str


class Task(NamedTuple):
    """A problem with its data, its net, and its words.

    Attributes:
        name: key in `TASKS`, and the folder of its runs.
        title: name for people.
        Config: dataclass of its settings: numbers with their `Range`, Literals, strings, bools.
        input_size: features of one step.
        load: `(config) -> Parts`, sequences `[time, *space, input]` with one target each.
        make_net: `(config) -> net`.
        loss: `(config, outputs, targets) -> [sequences]`, minimised in training.
        metrics: `(outputs, targets) -> {name: [sequences]}`; their means are reported. `gru-jax
            explain` needs one named "loss".
        predict: `(outputs) -> [sequences, ...]`, the answers: probabilities of classes, or values.
        describe: `(config, parts) -> {name: fact}`, the first lines of a training.
        monitor: the metric that tells the best parameters.
        mode: whether its lowest or its highest value is the best.
        apply: `(net, params, xs, lengths, key) -> outputs`, one row a sequence.
        space: the space axes of one step, () where it is a vector.
        draw: `(config, epoch) -> train`, where each epoch draws its sequences anew.
        baselines: `(config, test) -> {name: metrics}`, of forecasts that need no training.
        figures: `(trained, test, folder) -> paths`; draws, with matplotlib, a task's own figures.
        statistics: `(train) -> {name: numbers}`, all that preparing needs to know of the data.
        prepare: `(statistics, sequences) -> sequences`, the net's inputs.
        classes: names of the classes that `predict` has probabilities of; () if it has values.
        units: units of metrics; a "fraction" is printed in per cent.
        sample: word for a sequence.
        target: word for its class.
        published: values of `monitor` to compare with.
    """

    name: str
    title: str
    Config: type[Config]
    input_size: int
    load: Callable[[Any], Parts]
    make_net: Callable[[Any], gj.Layer]
    loss: Callable[[Any, Array, Any], Array]
    metrics: Callable[[Array, Any], dict[str, Array]]
    predict: Callable[[Array], Array]
    describe: Callable[[Any, Parts], dict[str, str]]
    monitor: str = "loss"
    mode: Literal["min", "max"] = "min"
    apply: Callable[[gj.Layer, Params, Arrays, Arrays, Key | None], Array] = apply
    space: tuple[int, ...] = ()
    draw: Callable[[Any, int], gj.Dataset] | None = None
    baselines: Callable[[Any, gj.Dataset], dict[str, Row]] = lambda *_: {}
    figures: Callable[[Any, gj.Dataset, Path], list[Path]] = lambda *_: []
    statistics: Callable[[gj.Dataset], Statistics] = lambda _: {}
    prepare: Callable[[Statistics, Sequence[np.ndarray]], Sequence[np.ndarray]] = lambda _, xs: xs
    classes: tuple[str, ...] = ()
    units: Mapping[str, str] = {}
    sample: str = "sequence"
    target: str = "class"
    published: tuple[Published, ...] = ()
