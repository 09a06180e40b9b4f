"""What both of Flax's libraries have in common: modules by one set of names, arrays in a tree."""

import operator
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from gru_jax.activations import ACTIVATIONS
from gru_jax.cells.gru_params import GRUParams
from gru_jax.interop.arrays import floats
from gru_jax.interop.gates import TURNING, Joined, part
from gru_jax.interop.levels import Level, Run, assemble, assemble_cell
from gru_jax.interop.names import choose
from gru_jax.types import Cell, Layer, Params

Tree: TypeAlias = Mapping[Any, Any]

LINEN, NNX = {"ir", "iz", "in", "hr", "hz", "hn"}, {"dense_i", "dense_h"}
"""What a cell's arrays are under."""
OURS = set(GRUParams._fields)
"""What a cell's arrays are called in our own modules, with b_h or without."""


class Kinds(NamedTuple):
    """The modules of both libraries that are understood."""

    cell: tuple[type, ...]
    rnn: tuple[type, ...]
    both: tuple[type, ...]
    chain: tuple[type, ...]
    dropout: tuple[type, ...]
    concat: tuple[Any, ...]


@cache
def kinds() -> Kinds:
    """Returns them; Flax is imported here."""
    from flax import linen, nnx

    names = ("GRUCell", "RNN", "Bidirectional", "Sequential", "Dropout")
    cell, rnn, both, chain, dropout = ((getattr(linen, n), getattr(nnx, n)) for n in names)
    return Kinds(cell, rnn, both, chain, dropout, tuple(kind.merge_fn for kind in both))


def read_tree(
    function: str, module: Any | None, tree: Tree, name: str | None
) -> tuple[Cell | Layer, Params]:
    """Returns the net of a module, or of what its arrays' names say if there is none.

    Trees of our own modules are read, too.

    Raises:
        ValueError: if there is no GRU by this name, or it is something that ours cannot be.
    """
    if not isinstance(tree, Mapping):
        kind = type(tree).__name__
        raise ValueError(f"{function}: there must be arrays by name in dicts, got a {kind}.")
    tree = _without_rngs(tree)
    if module is None or name is not None:
        tree = _find(function, tree, name)
    if _is_cell(tree) and isinstance(module, kinds().rnn):  # as it is named in compact modules
        tree = {"cell": tree}
    if _is_cell(tree):
        return assemble_cell(_take_run(function, module, tree))
    return assemble(function, list(_take_levels(function, module, tree)))


def _is_cell(tree: Tree) -> bool:
    theirs = set(tree) in (LINEN, NNX) and all(isinstance(leaf, Mapping) for leaf in tree.values())
    return theirs or set(tree) in (OURS, OURS - {"b_h"})


def _without_rngs(tree: Tree) -> Tree:
    """Returns a tree without nnx's streams of random numbers, and what is empty then."""
    kept = {}
    for key, inner in tree.items():
        if isinstance(inner, Mapping):
            inner = None if key == "rngs" else _without_rngs(inner) or None
        if inner is not None:
            kept[key] = inner
    return kept


def _find(function: str, tree: Tree, name: str | None) -> Tree:
    """Returns the part of a tree that is by this name, or the only GRU in it."""
    whole = r"(/?layers[_/]\d+)?(/?(forward|backward)(_rnn)?)?(/?cell)?$"
    there = list(dict.fromkeys(re.sub(whole, "", place) for place in _places(tree, "")))
    for key in filter(None, choose(function, there, name, tree, separator="/").split("/")):
        tree = tree[key] if key in tree else tree[int(key)]
    return tree


def _places(tree: Tree, place: str) -> Iterator[str]:
    for key, inner in tree.items():
        if isinstance(inner, Mapping):
            where = f"{place}/{key}" if place else str(key)
            yield from [where] if _is_cell(inner) else _places(inner, where)
    if not place and _is_cell(tree):
        yield ""


def _take_levels(function: str, module: Any | None, tree: Tree) -> Iterator[Level]:
    known, keys = kinds(), set(tree)
    if module is not None and not isinstance(module, known.rnn + known.both + known.chain):
        raise ValueError(
            f"{function}: module must be a GRUCell, RNN, Bidirectional or Sequential, got a "
            f"{type(module).__name__}: give the part that is one."
        )
    if keys == {"cell"}:
        yield Level((_take_rnn(function, module, tree),))
    elif keys == {"forward"}:
        yield Level((_take_run(function, None, tree["forward"]),))
    elif keys == {"forward", "backward"}:
        ahead, back = (_take_run(function, None, tree[key]) for key in ("forward", "backward"))
        yield Level((ahead, back._replace(reverse=True)))
    elif keys == {"forward_rnn", "backward_rnn"}:
        ahead, back = (
            _take_rnn(function, getattr(module, key, None), tree[key], key)
            for key in ("forward_rnn", "backward_rnn")
        )
        yield Level((ahead, back._replace(reverse=True)), _merge(function, module))
    else:
        yield from _take_chain(function, module, tree)


def _take_chain(function: str, module: Any | None, tree: Tree) -> Iterator[Level]:
    flat = tree["layers"] if set(tree) == {"layers"} else tree
    numbers = {key: re.fullmatch(r"(?:layers_)?(\d+)", str(key)) for key in flat}
    trees = {int(number[1]): flat[key] for key, number in numbers.items() if number}
    modules: list[Any] = [None] * len(trees) if module is None else list(module.layers)
    if not trees or len(trees) < len(flat) or not trees.keys() <= set(range(len(modules))):
        raise ValueError(
            f"{function}: variables must be those of a GRUCell, RNN, Bidirectional or Sequential "
            f"of them, got {', '.join(map(str, flat))[:200]}; layers without any must be said by "
            "the module."
        )
    last = None
    for number, each in enumerate(modules):
        if number in trees:
            if last:
                yield last
            *before, last = _take_levels(function, each, trees[number])
            yield from before
        elif isinstance(each, kinds().dropout) and last:
            last = last._replace(dropout=each.rate)
        else:
            kind = getattr(each, "__name__", type(each).__name__)
            raise ValueError(
                f"{function}: module must have GRUs alone in a Sequential, with dropout behind "
                f"them, got {kind}."
            )
    if last:
        yield last


def _take_rnn(function: str, module: Any | None, tree: Tree, way: str = "") -> Run:
    if set(tree) != {"cell"} or not _is_cell(tree["cell"]):
        raise ValueError(
            f"{function}: {way or 'module'} must be an RNN of a GRUCell, got one with "
            f"{', '.join(sorted(map(str, tree.get('cell', tree))))[:200]}."
        )
    if module is None:
        return _take_run(function, None, tree["cell"])
    if module.reverse and not way and not module.keep_order:
        raise ValueError(
            f"{function}: keep_order must be True with reverse=True, got False: such an RNN hands "
            "out its outputs last step first, and ours are in the order of the inputs."
        )
    if module.reverse and way:
        raise ValueError(f"{function}: {way} must have reverse=False, got True.")
    return _take_run(function, module.cell, tree["cell"])._replace(reverse=module.reverse)


def _merge(function: str, module: Any | None) -> Literal["concat", "sum"]:
    if module is None or module.merge_fn in kinds().concat:
        return "concat"
    if module.merge_fn in (jnp.add, operator.add):
        return "sum"
    raise ValueError(
        f"{function}: merge_fn must be the default or jnp.add, got {module.merge_fn}: ours "
        "puts the outputs side by side or adds them."
    )


def _take_run(function: str, module: Any | None, tree: Tree) -> Run:
    if module is not None and not isinstance(module, kinds().cell):
        kind = type(module).__name__
        raise ValueError(f"{function}: cell must be a GRUCell, got a {kind}.")
    takes = {"ir": _take_linen, "dense_i": _take_nnx, "W_r": _take_ours}
    run = Run(next(take for name, take in takes.items() if name in tree)(function, tree))
    if module is None:
        return run
    names = {fn: name for name, fn in ACTIVATIONS.items()}
    for option, known in (("gate_fn", TURNING), ("activation_fn", tuple(ACTIVATIONS))):
        came = names.get(getattr(module, option))
        if came not in known:
            raise ValueError(
                f"{function}: {option} must be {', '.join(known)} of jax.nn, got "
                f"{getattr(module, option)}: no net of ours with a name for it is the same."
            )
    return run._replace(
        gate_activation=names[module.gate_fn], activation=names[module.activation_fn]
    )


def _take_ours(function: str, tree: Tree) -> GRUParams:
    hidden = np.size(tree["b_c"])
    rows = max((hidden + 1, *np.shape(tree["W_c"])[:1]))
    shapes = {"W": (rows, hidden), "b": (hidden,)}
    return GRUParams(**{n: floats(function, n, leaf, shapes[n[0]]) for n, leaf in tree.items()})


def _take_linen(function: str, tree: Tree) -> GRUParams:
    hidden = np.shape(tree["hn"].get("bias", 0))[-1:]
    inputs = np.shape(tree["in"].get("kernel", 0))[:1]

    def take(gate: str, leaf: str) -> Any:
        rows = inputs if gate.startswith("i") else hidden
        name, shape = f"{gate}/{leaf}", hidden if leaf == "bias" else rows + hidden
        if leaf not in tree[gate]:
            raise ValueError(f"{function}: variables must have {name}, got none.")
        return floats(function, name, tree[gate][leaf], shape)

    b_n = take("hn", "bias")
    joined = Joined(
        jnp.concatenate([take(f"i{gate}", "kernel") for gate in "rzn"], 1),
        jnp.concatenate([take(f"h{gate}", "kernel") for gate in "rzn"], 1),
        jnp.concatenate([take(f"i{gate}", "bias") for gate in "rzn"]),
        jnp.pad(b_n, (2 * b_n.size, 0)),
    )
    return part(function, joined, "rzc", old=True, reset="after")


def _take_nnx(function: str, tree: Tree) -> GRUParams:
    hidden = np.shape(tree["dense_h"].get("kernel", 0))[:1]
    inputs = np.shape(tree["dense_i"].get("kernel", 0))[:1]
    gates = tuple(3 * size for size in hidden)
    needed = {"dense_i/kernel": inputs + gates, "dense_h/kernel": hidden + gates}
    if set(tree["dense_h"]) != {"kernel"} or set(tree["dense_i"]) != {"kernel", "bias"}:
        raise ValueError(
            f"{function}: variables must have dense_i/kernel, dense_i/bias and dense_h/kernel "
            f"alone, got {', '.join(f'{k}/{leaf}' for k in sorted(tree) for leaf in tree[k])}."
        )
    W_x, W_h, b = (
        floats(function, name, tree[name.split("/")[0]][name.split("/")[1]], shape)
        for name, shape in (*needed.items(), ("dense_i/bias", gates))
    )
    return part(function, Joined(W_x, W_h, b, jnp.zeros_like(b)), "rzc", old=True, reset="after")
