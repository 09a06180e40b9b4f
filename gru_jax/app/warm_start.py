"""Training that begins with the weights of a file: as many first layers as fit.

file --interop.read--> layers with parameters --one by one--> those of the net
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

import gru_jax as gj
from gru_jax import Architecture, Params, interop
from gru_jax.app.folder import find


class _Part(NamedTuple):
    """A layer with parameters, and its place in the stack."""

    place: int
    architecture: Architecture | None
    params: Params


def take_over(path: Path, net: gj.Layer, params: Params) -> tuple[Params, str]:
    """Returns the net's parameters with those of a file in its first layers, and says how many.

    Layers are compared in order, those without parameters left out, up to the first that differs:
    a head for other classes stays as it is initialised.

    Args:
        path: any file that interop reads, or the folder of a run.
        net: the net to be trained.
        params: its parameters, initialised.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or its first layer is not the net's.
    """
    source = find(path) if (path / "config.json").is_file() else path
    other, weights = interop.read(source)
    if not isinstance(other, gj.Layer):
        other = gj.recurrent(other)
    own, theirs = list(_parts(net, params)), list(_parts(other, weights))
    fitting = []
    for mine, given in zip(own, theirs, strict=False):
        if mine.architecture != given.architecture or _shapes(mine.params) != _shapes(given.params):
            break
        fitting.append((mine.place, given.params))
    if not fitting:
        needed, came = own[0], (theirs or [_Part(0, None, ())])[0]
        raise ValueError(
            f"init_from: {path} must begin with {needed.architecture}, {_say(needed.params)}, got "
            f"{came.architecture}, {_say(came.params)}."
        )
    if net.architecture is not None and net.architecture.builder != "stack":
        return fitting[0][1], f"all of {path}"
    mixed = list(params)
    for place, given in fitting:
        mixed[place] = given
    new = ", ".join(str(part.architecture) for part in own[len(fitting) :])
    said = f"{len(fitting)} of {len(own)} layers of {path}"
    return tuple(mixed), said + f"; new: {new}" * bool(new)


def _parts(net: gj.Layer, params: Params) -> Iterator[_Part]:
    """Yields the layers of a stack that have parameters, or the layer."""
    whole = net.architecture
    pairs: Any = [(whole, params)]
    if whole is not None and whole.builder == "stack":
        pairs = zip(whole.parts, params, strict=True)
    for place, (architecture, own) in enumerate(pairs):
        if jax.tree.leaves(own):
            yield _Part(place, architecture, own)


def _shapes(params: Params) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)


def _say(params: Params) -> str:
    """Returns the shapes of parameters in words."""
    shapes = [" x ".join(map(str, leaf.shape)) for leaf in jax.tree.leaves(params)]
    return f"weights {', '.join(shapes[:2])}" if shapes else "without weights"
