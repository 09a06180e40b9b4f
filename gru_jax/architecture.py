"""A cell or a layer as data, and back.

    gru(64)  <--build, describe-->  Architecture("gru", (), (("hidden_size", 64), ...))

A builder is a function that returns a cell or a layer. `@buildable` registers the builder by its
name and sets the architecture of each result. The result then prints as the call that built it, and
can be saved.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, wraps
from typing import Any, NamedTuple, TypeVar, cast
from weakref import WeakValueDictionary

import jax.numpy as jnp
import numpy as np

Builder = TypeVar("Builder", bound=Callable[..., Any])

BUILDERS: dict[str, Callable[..., Any]] = {}
"""Builders by name."""


class Architecture(NamedTuple):
    """A cell or a layer as data: enough to build it again, except for its initialisers.

    Attributes:
        builder: the name of the function that builds it, e.g. `"gru"`.
        parts: the cells or layers among its arguments.
        options: its other arguments, by name.
    """

    builder: str
    parts: tuple["Architecture", ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        """Returns the call that builds it, without arguments at their defaults."""
        return f"{self.builder}({', '.join(_arguments(self))})"


class bind(partial):
    """A function with some arguments given: a `partial` of which equal ones are one object.

    Cells and layers made of these are values, cheap to compare however deep they are: equal ones
    compile once, and pickle carries them. With an argument that has no hash it is a plain partial.
    """

    def __new__(cls, function: Callable[..., Any], /, *args: Any, **options: Any) -> "bind":
        """Returns the object with these arguments, if there is one."""
        made = super().__new__(cls, function, *args, **options)
        # A partial of a partial is one partial. Types count, because 1, 1.0 and True are equal.
        options = made.keywords
        types = tuple(map(type, (*made.args, *options.values())))
        try:
            return _BOUND.setdefault((made.func, made.args, (*options.items(),), types), made)
        except TypeError:
            return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns how pickle and copy make it again."""
        return _bind, (self.func, self.args, self.keywords)


def _bind(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> bind:
    return bind(function, *args, **options)


_BOUND: WeakValueDictionary[tuple[Any, ...], bind] = WeakValueDictionary()


def name_of(function: Callable[..., Any]) -> str:
    """Returns a function's module and name, with arguments given or not."""
    function = getattr(function, "func", function)
    return f"{function.__module__}.{function.__qualname__}"


def buildable(builder: Builder) -> Builder:
    """Registers a builder for `build`, and sets the architecture of its results.

    Arguments may be cells, layers, numbers, strings, dtypes, None, and tuples of these. Arguments
    named `*_init` are left out. With any other argument, e.g. a function, the result has no
    architecture. Equal calls return one object, which compiles once.

    Args:
        builder: a function that returns a `Cell` or a `Layer`; files refer to it by name.

    Returns:
        The builder, wrapped; its signature is unchanged.

    Raises:
        ValueError: if another module has registered a builder with this name; from the builder, if
            an option has a name that files use, or a cell or layer is a keyword-only argument.
    """
    name, signature = builder.__name__, inspect.signature(builder)
    known = BUILDERS.get(name)
    if known is not None and known.__module__ != builder.__module__:
        raise ValueError(
            f"buildable: builder must have a name of its own, got {name}, as in {known.__module__}."
        )

    def describe(*args: Any, **options: Any) -> Any:
        built = builder(*args, **options)
        if built.architecture is not None:
            return built
        bound = signature.bind(*args, **options)
        return built._replace(architecture=_describe(name, signature, bound))

    # With types, because 1, 1.0 and True are equal.
    remember = lru_cache(maxsize=512, typed=True)(describe)

    @wraps(builder)
    def build_and_describe(*args: Any, **options: Any) -> Any:
        try:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            hash((bound.args, (*bound.kwargs.items(),)))
        except TypeError:  # Wrong arguments, or one without a hash.
            return describe(*args, **options)
        return remember(*bound.args, **bound.kwargs)

    BUILDERS[name] = build_and_describe
    return cast(Builder, build_and_describe)


def build(architecture: Architecture) -> Any:
    """Builds a cell or a layer from its architecture, with the default initialisers.

    Args:
        architecture: `cell.architecture` or `layer.architecture`.

    Raises:
        ValueError: if the builder is unknown, or does not take these arguments.
    """
    name, parts, options = architecture
    if name not in BUILDERS:
        raise ValueError(
            f"build: builder must be known, got {name!r}: import the module that defines it."
        )
    built = [build(part) for part in parts]
    try:
        return BUILDERS[name](*built, **dict(options))
    except TypeError as error:
        raise ValueError(f"build: options must be those of {name}, but {error}.") from error


def as_dict(architecture: Architecture) -> dict[str, Any]:
    """Returns an architecture as a JSON object."""
    parts = [as_dict(part) for part in architecture.parts]
    more = {"parts": parts} if parts else {}
    return {"builder": architecture.builder, **dict(architecture.options), **more}


def from_dict(entry: Mapping[str, Any]) -> Architecture:
    """Undoes `as_dict`; raises a TypeError or a KeyError if the entry is malformed."""
    options = {k: _tuples(v) for k, v in entry.items() if k not in ("builder", "parts")}
    parts = tuple(from_dict(part) for part in entry.get("parts", ()))
    return Architecture(entry["builder"], parts, tuple(options.items()))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _describe(
    name: str, signature: inspect.Signature, bound: inspect.BoundArguments
) -> Architecture | None:
    """Returns the architecture, or None if an argument cannot be stored as data."""
    bound.apply_defaults()
    parts, options = [], {}
    for parameter in signature.parameters.values():
        value = bound.arguments[parameter.name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            options |= value
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parts += value
        elif hasattr(value, "architecture"):
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and value.architecture:
                raise ValueError(
                    f"buildable: {name}'s cells and layers must be arguments by position, "
                    f"got {parameter.name} by keyword only."
                )
            parts.append(value)
        elif not parameter.name.endswith("_init"):
            options[parameter.name] = value
    if reserved := {"builder", "parts"} & {*options}:
        raise ValueError(
            f"buildable: {name}'s options must not be named builder or parts, "
            f"got {', '.join(sorted(reserved))}."
        )
    described = tuple(part.architecture for part in parts)
    options = {name: _plain(name, value) for name, value in options.items()}
    if None in described or not all(map(_is_plain, options.values())):
        return None
    return Architecture(name, described, tuple(options.items()))


def _plain(name: str, value: Any) -> Any:
    if name == "dtype" and value is not None:
        return jnp.dtype(value).name
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _arguments(architecture: Architecture) -> list[str]:
    """Returns the arguments of the call that builds an architecture."""
    parts, options = list(architecture.parts), dict(architecture.options)
    builder = BUILDERS.get(architecture.builder)
    parameters = inspect.signature(builder).parameters if builder else {}
    optional = [p for p in parameters.values() if p.default is None and p.name not in options]
    if len(parts) == 2 and parts[0] == parts[1] and optional:
        del parts[1]  # bidirectional(cell) is bidirectional(cell, cell).
    arguments = [str(part) for part in parts]
    by_position = not parts
    for name, value in options.items():
        parameter = parameters.get(name)
        if parameter is not None and _plain(name, parameter.default) == value:
            by_position = False
            continue
        by_position &= (
            parameter is not None and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        arguments.append(repr(value) if by_position else f"{name}={value!r}")
    return arguments
