"""Trees of arrays as Flax's modules and gru_jax's name them: the places of the cells in one.

    {"params": {"encoder": {"cell": {...}}, "head": {...}}}  --bare, find-->  ("encoder",)

A tree is a dict of dicts of arrays. A place in it is the tuple of the keys that lead there, since
a key may have any name, also one with a slash in it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from gru_jax.interop.flax.cell_arrays import is_cell, is_own
from gru_jax.interop.names import choose

Tree: TypeAlias = Mapping[Any, Any]

PAIR = {"forward_rnn", "backward_rnn"}
"""The names of the two RNNs in a `Bidirectional`; in gru_jax's modules without `_rnn`."""


def bare(variables: Any) -> Any:
    """Returns the arrays in dicts, without their collection's name, "params", and without boxes."""
    from flax import nnx

    tree = unbox(nnx.to_pure_dict(variables) if isinstance(variables, nnx.State) else variables)
    while isinstance(tree, Mapping) and isinstance(tree.get("params"), Mapping):
        tree = tree["params"]
    return {} if tree is None and isinstance(variables, Mapping) else tree


def unbox(tree: Any) -> Any:
    """Returns a tree without boxes, empty parts, and nnx's streams of random numbers.

    Boxes are linen's metadata, or nnx's variables as files have them, {"value": array}.
    """
    from flax.core import meta

    if isinstance(tree, meta.AxisMetadata):
        return unbox(tree.unbox())
    if not isinstance(tree, Mapping):
        return tree
    kept = {key: unbox(inner) for key, inner in tree.items() if key != "rngs"}
    kept = {key: inner for key, inner in kept.items() if inner is not None}
    boxed = set(kept) == {"value"} and not isinstance(kept["value"], Mapping)
    return kept["value"] if boxed else kept or None


def list_arrays(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the arrays in a tree of dicts and lists, each with its path, e.g. "head/kernel"."""
    if hasattr(tree, "shape"):
        yield place, tree
    elif isinstance(tree, Mapping | list | tuple):
        for key, inner in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from list_arrays(inner, f"{place}/{key}" if place else str(key))


def find(function: str, tree: Tree, name: str | None) -> tuple[Any, ...]:
    """Returns the place that `choose` finds in a tree."""
    check_tree(function, tree)
    places = list(_places(tree, ()))
    names = ["/".join(map(str, place)) for place in places]
    return places[names.index(choose(function, names, name, tree, separator="/"))]


def check_tree(function: str, tree: Any) -> None:
    """Raises unless there are arrays by name."""
    if not isinstance(tree, Mapping):
        kind = type(tree).__name__
        raise ValueError(f"{function}: there must be arrays by name in dicts, got a {kind}.")


def _places(tree: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if is_cell(tree) or _is_layer(tree):
        yield place
    elif isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from _places(inner, (*place, key))


def _is_layer(tree: Any) -> bool:
    """Returns whether it is named as what holds cells alone; a part of it may be damaged."""
    keys = set(tree) if isinstance(tree, Mapping) else set()
    if keys == {"cell"}:
        return is_cell(tree["cell"])
    if keys == PAIR:
        return any(map(_is_layer, tree.values()))
    if keys in ({"forward"}, {"forward", "backward"}):
        return any(map(is_own, tree.values()))
    layers = numbered(tree) if keys else {}
    # A number is missing where a layer has no arrays: each cell is then a separate net.
    whole = bool(layers) and max(layers) < len(layers)
    return whole and all(map(_is_layer, layers.values()))


def numbered(tree: Tree) -> dict[int, Tree]:
    """Returns the parts of a `Sequential` by their numbers; none if there is anything else.

    linen has them under `layers_0`, nnx under 0 in `layers`, of which files make "0".
    """
    within = tree["layers"] if set(tree) == {"layers"} else None
    parts, start = (within, "") if isinstance(within, Mapping) else (tree, "layers_")
    matches = {key: re.fullmatch(rf"{start}(\d{{1,6}})", str(key)) for key in parts}
    layers = {int(match[1]): parts[key] for key, match in matches.items() if match}
    whole = len(layers) == len(parts) and all(isinstance(each, Mapping) for each in layers.values())
    return layers if whole else {}
