"""What linen and nnx share: modules of the same names, with their arrays in a tree.

module, tree  --read_tree-->  net, params
library, level, cells  --build_level-->  RNN or Bidirectional
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gru_jax.interop.contents import list_names
from gru_jax.interop.flax.cell_arrays import is_cell, take_cell
from gru_jax.interop.flax.places import PAIR, Tree, check_tree, find, numbered
from gru_jax.interop.gates import SYMMETRIC
from gru_jax.interop.kinds import ANY_KIND, GRU, LSTM
from gru_jax.interop.stack import Level, Run, assemble, assemble_cell
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

CELLS = {"GRUCell": GRU, "LSTMCell": LSTM, "OptimizedLSTMCell": LSTM}
MODULES = (*CELLS, "RNN", "Bidirectional", "Sequential")


def kind_of(module: Any) -> str | None:
    """Returns the name of one of Flax's own modules; None for others, also subclasses."""
    from flax import linen, nnx

    kind = type(module)
    for name in (*MODULES, "Dropout"):
        if kind in (getattr(linen, name), getattr(nnx, name)):
            return name
    return None


def read_tree(
    function: str, module: Any | None, tree: Any, name: str | None
) -> tuple[Cell | Layer, Params]:
    """Returns the net of a module or, without one, the net that the names in the tree imply.

    Reads the trees of gru_jax's own Flax modules, too.
    """
    check_tree(function, tree)
    if module is None or name is not None:
        try:
            place = find(function, tree, name)
        except ValueError as error:
            if module is None:
                raise
            raise ValueError(
                f"{str(error)[:-1]}: name says where all arrays of the module are; for a part of "
                "them give None for the module."
            ) from None
        for key in place:
            tree = tree[key]
    _check_kind(function, "module", module, *MODULES)
    if is_cell(tree) and kind_of(module) == "RNN":  # as compact modules name it
        tree = {"cell": tree}
    if is_cell(tree):
        return assemble_cell(_take_run(function, module, tree))
    return assemble(function, _take_levels(function, module, tree))


def _check_kind(function: str, what: str, module: Any | None, *known: str) -> None:
    """Raises unless a module is Flax's own: what inherits from one may compute anything."""
    kind = type(module)
    if module is None or kind_of(module) in known:
        return
    got = f"a {kind.__name__}"
    hint = "give the part that is one or, if it computes the same, its variables alone"
    if kind.__module__.startswith(("gru_jax.linen", "gru_jax.nnx")):
        got = f"gru_jax's {kind.__name__}"
        params = "params_from(variables)" if function == "from_linen" else "params()"
        hint = f"its net() and its {params} are what this returns"
    needed = " or ".join(known)
    raise ValueError(f"{function}: {what} must be Flax's own {needed}, got {got}: {hint}.")


def _take_levels(function: str, module: Any | None, tree: Tree) -> list[Level]:
    kind, keys = kind_of(module), set(tree)
    if keys == {"cell"} and kind in (None, "RNN"):
        return [Level((_take_rnn(function, module, tree),))]
    if keys == PAIR and kind in (None, "Bidirectional"):
        ahead, back = (
            _take_rnn(function, getattr(module, key, None), tree[key], key)
            for key in ("forward_rnn", "backward_rnn")
        )
        return [Level((ahead, back._replace(reverse=True)), _merge(function, module))]
    if keys in ({"forward"}, {"forward", "backward"}) and module is None:
        runs = []
        for key in ("forward", "backward")[: len(keys)]:
            if not is_cell(tree[key]):
                raise ValueError(f"{function}: {key} must be a GRU, got {_names(tree[key])}.")
            run = _take_run(function, None, tree[key])
            runs.append(run._replace(reverse=key == "backward"))
        return [Level(tuple(runs))]
    if kind in (None, "Sequential"):
        return _take_chain(function, module, tree)
    raise ValueError(f"{function}: variables must be those of the {kind}, got {_names(tree)}.")


def _names(tree: Any) -> str:
    """Returns the names in a tree, for an error."""
    if not isinstance(tree, Mapping):
        return f"a {type(tree).__name__}"
    return list_names(sorted(map(str, tree)))


def _take_chain(function: str, module: Any | None, tree: Tree) -> list[Level]:
    trees = numbered(tree)
    modules: list[Any] = [None] * len(trees) if module is None else list(module.layers)
    if not trees or not trees.keys() <= set(range(len(modules))):
        raise ValueError(
            f"{function}: variables must be those of {ANY_KIND} cell, RNN, Bidirectional or "
            f"Sequential of them, got {_names(tree)}; if a layer has no variables, pass "
            "the module."
        )
    levels: list[Level] = []
    for number, each in enumerate(modules):
        follows = levels and not levels[-1].dropout
        if number in trees:
            _check_kind(function, "module", each, *MODULES)
            levels += _take_levels(function, each, trees[number])
        elif follows and kind_of(each) == "Dropout" and not each.broadcast_dims:
            levels[-1] = levels[-1]._replace(dropout=each.rate)
        else:
            kind = getattr(each, "__name__", type(each).__name__)
            raise ValueError(
                f"{function}: a Sequential must hold only GRUs and LSTMs, each followed by at "
                f"most one dropout without broadcast_dims, got {kind}."
            )
    return levels


def _take_rnn(function: str, module: Any | None, tree: Any, name: str = "") -> Run:
    inner = tree.get("cell", tree) if isinstance(tree, Mapping) else tree
    if inner is tree or not is_cell(inner):
        raise ValueError(
            f"{function}: {name or 'module'} must be an RNN of {ANY_KIND} cell, got one with "
            f"{_names(inner)}."
        )
    if module is None:
        return _take_run(function, None, inner)
    _check_kind(function, name or "module", module, "RNN")
    if module.reverse and not name and not module.keep_order:
        raise ValueError(
            f"{function}: keep_order must be True with reverse=True, got False: such an RNN gives "
            "its outputs last step first, and gru_jax's are in the order of the inputs."
        )
    if module.reverse and name:
        raise ValueError(f"{function}: {name} must have reverse=False, got True.")
    return _take_run(function, module.cell, inner)._replace(reverse=module.reverse)


def _merge(function: str, module: Any | None) -> Literal["concat", "sum"]:
    from flax import linen, nnx

    defaults = (linen.Bidirectional.merge_fn, nnx.Bidirectional.merge_fn)
    if module is None or module.merge_fn in defaults:
        return "concat"
    if module.merge_fn in (jnp.add, operator.add):
        return "sum"
    raise ValueError(
        f"{function}: merge_fn must be the default or jnp.add, got {module.merge_fn}: "
        "bidirectional puts the outputs side by side or adds them."
    )


def _take_run(function: str, module: Any | None, tree: Tree) -> Run:
    _check_kind(function, "cell", module, *CELLS)
    run = Run(take_cell(function, tree))
    kind = kind_of(module)
    if module is None or kind is None:
        return run
    if CELLS[kind] is not run.kind:
        raise ValueError(f"{function}: variables must be those of the {kind}, got {_names(tree)}.")
    if module.carry_init not in (None, jax.nn.initializers.zeros):
        raise ValueError(
            f"{function}: carry_init must be zeros, got {module.carry_init}: give `apply` the "
            "state that it draws."
        )
    options, reason = {"gate_fn": ("sigmoid",), "activation_fn": ("tanh",)}, "gj.lstm has no other"
    if run.kind is GRU:
        options = {"gate_fn": SYMMETRIC, "activation_fn": tuple(ACTIVATIONS)}
        reason = "no activation of gru_jax is the same"
    names = {fn: name for name, fn in ACTIVATIONS.items()}
    for option, known in options.items():
        got = getattr(module, option)
        if names.get(got) not in known:
            raise ValueError(
                f"{function}: {option} must be {', '.join(known)} of jax.nn, got {got}: {reason}."
            )
    return run._replace(
        gate_activation=names[module.gate_fn], activation=names[module.activation_fn]
    )


def build_level(library: Any, level: Level, cells: Sequence[Any]) -> Any:
    """Returns the `RNN` or `Bidirectional` of linen or nnx that runs these cells."""
    if len(cells) == 1:
        reverse = level.runs[0].reverse
        return library.RNN(cells[0], reverse=reverse, keep_order=reverse)
    merge = jnp.add if level.merge == "sum" else library.Bidirectional.merge_fn
    return library.Bidirectional(*map(library.RNN, cells), merge_fn=merge)
