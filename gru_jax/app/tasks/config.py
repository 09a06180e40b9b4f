"""The settings of a run: a dataclass whose fields say what they may hold."""

import dataclasses
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

AnyConfig = TypeVar("AnyConfig", bound="Config")


class Range(NamedTuple):
    """The least value of a setting, and the one that it stays below."""

    least: float
    below: float


FILE = "FILE"
"""Marks the path of a file, and is its placeholder in the help."""
FREE = object()
"""Marks a setting that a run may go on with changed: it alters neither data nor net."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Training."""

    seed: Annotated[int, Range(0, 2**32)] = 0
    """Seeds the split, the parameters, the order of the data, noise and dropout."""
    seeds: Annotated[int, Range(1, 1000)] = 1
    """Train with this many seeds, from --seed on, as one program. Reports mean and standard
    deviation; the folder has a run for each seed."""
    epochs: Annotated[int, Range(1, 10**6)] = 60
    """Passes over the training data."""
    patience: Annotated[int, Range(1, 10**6), FREE] = 30
    """Stops after this many epochs without a better validation."""
    batch: Annotated[int, Range(1, 10**5), FREE] = 32
    """Sequences in a batch."""
    learning_rate: Annotated[float, Range(0, math.inf), FREE] = 3e-3
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: Annotated[float, Range(0, math.inf), FREE] = 1e-2
    """Decoupled weight decay of AdamW."""
    init_from: Annotated[str | None, FILE] = None
    """Begin with the weights of this file, or run: as many first layers as fit. Any file that
    convert reads."""

    def __post_init__(self) -> None:
        """Makes the paths of files absolute, so that a run goes on from any folder."""
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            path = getattr(self, name)
            if FILE in get_args(hint) and path and isinstance(path, str):
                object.__setattr__(self, name, str(Path(path).absolute()))


def check(config: AnyConfig) -> AnyConfig:
    """Returns the settings; raises ValueError if one has another type or is out of its range."""
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        needed = _needed(hint, value := getattr(config, name))
        if needed:
            raise ValueError(f"train: {name} must be {needed}, got {value!r}.")
    return config


def from_json(kind: type[AnyConfig], settings: dict[str, Any]) -> AnyConfig:
    """Returns the settings that `dataclasses.asdict` and JSON have written down.

    Raises:
        ValueError: if they are of another version, of another type, or out of range.
    """
    if other := settings.keys() ^ {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(
            f"its settings are of another version of gru_jax, {', '.join(sorted(other))} differ; "
            "train again"
        )
    tuples: dict[str, Any] = {k: tuple(v) for k, v in settings.items() if isinstance(v, list)}
    return check(kind(**settings | tuples))


def _needed(hint: Any, value: Any) -> str:
    """Returns what a value must be, or nothing if it is."""
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if isinstance(kind, UnionType):
        if value is None:
            return ""
        (kind,) = set(get_args(kind)) - {NoneType}
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        inner = Annotated[inner, *marks] if marks else inner
        if not isinstance(value, tuple):
            return "a tuple"
        return next(filter(None, (_needed(inner, each) for each in value)), "")
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return "" if value in choices else f"one of {', '.join(map(str, choices))}"
    if kind in (int, float):
        (least, below), whole = next(m for m in marks if isinstance(m, Range)), kind is int
        right = type(value) in ((int,) if whole else (int, float)) and least <= value < below
        return "" if right else f"a {'whole ' * whole}number from {least} to below {below}"
    return "" if type(value) is kind else f"a {kind.__name__}"
