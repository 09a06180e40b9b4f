"""Trees of arrays as Flax's modules and ours name them: what in one is a GRU, and which is meant.

A tree is a dict of dicts of arrays. A place in it is the tuple of the keys that lead there, since
a key may have any name, also one with a slash in it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from gru_jax.interop.flax.cell import is_cell, is_ours
from gru_jax.interop.names import choose

Tree: TypeAlias = Mapping[Any, Any]

WAYS = {"forward_rnn", "backward_rnn"}
"""What the two RNNs are under in a `Bidirectional`; in our own modules without `_rnn`."""


def bare(variables: Any) -> Any:
    """Returns the arrays in dicts: without their collection's name, "params", and without boxes.

    Boxes are of linen's metadata, or nnx's variables as files have them, {"value": array}. What is
    empty goes, and nnx's streams of random numbers.
    """
    from flax import nnx

    tree = _unbox(nnx.to_pure_dict(variables) if isinstance(variables, nnx.State) else variables)
    while isinstance(tree, Mapping) and isinstance(tree.get("params"), Mapping):
        tree = tree["params"]
    return {} if tree is None and isinstance(variables, Mapping) else tree


def _unbox(tree: Any) -> Any:
    from flax.core import meta

    if isinstance(tree, meta.AxisMetadata):
        return _unbox(tree.unbox())
    if not isinstance(tree, Mapping):
        return tree
    kept = {key: _unbox(inner) for key, inner in tree.items() if key != "rngs"}
    kept = {key: inner for key, inner in kept.items() if inner is not None}
    boxed = set(kept) == {"value"} and not isinstance(kept["value"], Mapping)
    return kept["value"] if boxed else kept or None


def find(function: str, tree: Tree, name: str | None) -> tuple[Any, ...]:
    """Returns the place of the GRU that is by this name, or of the only one.

    Raises:
        ValueError: if there is no such GRU, or several are.
    """
    places = list(_places(tree, ()))
    names = ["/".join(map(str, place)) for place in places]
    return places[names.index(choose(function, names, name, tree, separator="/"))]


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
    if keys == WAYS:
        return any(map(_is_layer, tree.values()))
    if keys in ({"forward"}, {"forward", "backward"}):
        return any(map(is_ours, tree.values()))
    layers = numbered(tree) if keys else {}
    # Where one is missing, something without arrays stands there: each is a GRU of its own then.
    whole = bool(layers) and max(layers) < len(layers)
    return whole and all(map(_is_layer, layers.values()))


def numbered(tree: Tree) -> dict[int, Tree]:
    """Returns the parts of a `Sequential` by their numbers; none if there is anything else.

    linen has them under `layers_0`, nnx under 0 in `layers`, of which files make "0".
    """
    within = tree["layers"] if set(tree) == {"layers"} else None
    parts, start = (within, "") if isinstance(within, Mapping) else (tree, "layers_")
    numbers = {key: re.fullmatch(rf"{start}(\d{{1,6}})", str(key)) for key in parts}
    found = {int(number[1]): parts[key] for key, number in numbers.items() if number}
    whole = len(found) == len(parts) and all(isinstance(each, Mapping) for each in found.values())
    return found if whole else {}
