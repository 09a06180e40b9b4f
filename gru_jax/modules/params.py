"""Names for the parameters of a Flax module's net.

    the net's parameters                            by name
    GRUParams(W_r, ...)                             {"layers_0": {"forward": {"W_r": ...}}}
    Directions(GRUParams(...), GRUParams(...))      {"layers_0": {"forward": ..., "backward": ...}}
    (GRUParams(...), (), GRUParams(...)), a stack   {"layers_0": ..., "layers_1": ...}

`options` is a module, with a `hidden_size` and the attributes of `Options` or `ScanOptions`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from gru_jax.architecture import Architecture
from gru_jax.cells.gru_params import GRUParams
from gru_jax.layers.layer import Layer
from gru_jax.layers.recurrent import Directions, recurrent
from gru_jax.modules.options import FREE, Unbox, make_layer
from gru_jax.types import Cell, Initializer, Key, Params, Shape

Box: TypeAlias = Callable[[Any, Any], Any]
"""`(boxed, leaf) -> boxed`: puts another array, or a placeholder, into the box of metadata."""


def input_sizes(options: Any, input_size: int) -> dict[str, int]:
    """Returns the size of each layer's inputs by the layer's name."""
    width = options.hidden_size * (1 + options.bidirectional)
    return {f"layers_{i}": width if i else input_size for i in range(options.num_layers)}


def leaf_names(options: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of the directions, and of the arrays in each."""
    directions = ("forward", "backward") if options.bidirectional else ("forward",)
    return directions, GRUParams._fields if options.reset == "after" else GRUParams._fields[:-1]


def init_layer(
    options: Any, unbox: Unbox, box: Box, key: Key, input_size: int
) -> dict[str, dict[str, Any]]:
    """Returns a layer's first parameters by direction and name, in their boxes of metadata.

    Raises:
        ValueError: if the initialiser of a part has metadata of its own.
    """
    named = _name_layer(options, make_layer(options, unbox).init(key, input_size))
    size, metadata = options.hidden_size, {}
    for kind, whole, part, shape in (
        ("W", "kernel_init", "recurrent_init", (input_size, size)),
        ("b", "bias_init", "update_bias_init", (size,)),
    ):
        metadata[kind] = _read_metadata(getattr(options, whole), shape, box)
        initializer = getattr(options, part)
        got = initializer and _read_metadata(initializer, (size, *shape[1:]), box)
        if got not in (None, 0, metadata[kind]):
            raise ValueError(
                f"{_kind(options)}: {part} must give no metadata that {whole} does not give, too, "
                f"got {got}."
            )
    return {
        direction: {name: box(metadata[name[0]], leaf) for name, leaf in leaves.items()}
        for direction, leaves in named.items()
    }


def _read_metadata(initializer: Initializer, shape: Shape, box: Box) -> Any:
    """Returns an initialiser's box of metadata with 0 in it, or 0 if it gives a bare array."""
    results = []
    # By a side effect: `eval_shape` cannot return `nnx.VariableMetadata`, which is not a pytree.
    jax.eval_shape(
        lambda: results.append(box(initializer(jax.random.key(0), shape, jnp.float32), 0))
    )
    return results[0]


def _kind(options: Any) -> str:
    """Returns the module's name, which begins its error messages."""
    return type(options).__name__


def _name_layer(options: Any, params: Any) -> dict[str, dict[str, Any]]:
    """Returns one layer's parameters by direction and name."""
    directions = params._asdict() if isinstance(params, Directions) else {"forward": params}
    for each in directions.values():
        if not isinstance(each, GRUParams):
            raise ValueError(
                f"{_kind(options)}: params must be GRUParams, Directions of them, or a tuple of "
                f"these, got a {type(each).__name__}."
            )
    return {
        direction: {name: leaf for name, leaf in each._asdict().items() if leaf is not None}
        for direction, each in directions.items()
    }


def name_params(
    options: Any, own: Layer, net: Cell | Layer, params: Params
) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns a net's parameters by name, for a module that runs the same net, `own`.

    A cell is one layer, forward. A stack's parameters may come without the () of its dropout.

    Raises:
        ValueError: if the module would compute something else with them.
    """
    net = recurrent(net) if isinstance(net, Cell) else net
    expected, actual = (dict(_options_of(layer.architecture)) for layer in (own, net))
    for name in (*expected, *actual):
        needed, got = (entries.get(name, "nothing") for entries in (expected, actual))
        if needed != got:
            raise ValueError(
                f"{_kind(options)}: net must have {name} {needed}, as this module was built, "
                f"got {got}: build the module as the net is."
            )
    layers: Any = (params,) if isinstance(params, GRUParams | Directions) else params
    layers = [layer for layer in layers if not isinstance(layer, tuple) or layer]
    named = {f"layers_{i}": _name_layer(options, layer) for i, layer in enumerate(layers)}
    params = take_params(options, named)
    W_r = jax.tree.leaves(params)[0]
    xs = jax.ShapeDtypeStruct((1, W_r.shape[0] - options.hidden_size), W_r.dtype)
    jax.eval_shape(own.apply, params, xs)  # Raises where shapes do not fit each other.
    if W_r.dtype != options.param_dtype:
        raise ValueError(
            f"{_kind(options)}: params must be {jnp.dtype(options.param_dtype)}, as param_dtype "
            f"says, got {W_r.dtype}."
        )
    return named


def _options_of(entry: Architecture | None, place: str = "layers_0") -> Iterator[tuple[str, Any]]:
    """Yields the options that decide what a net computes in evaluation, by name."""
    if entry is None:
        yield "activations", "without names"
    elif entry.builder == "stack":
        layers = (part for part in entry.parts if part.builder != "dropout")
        for i, part in enumerate(layers):
            yield from _options_of(part, f"layers_{i}")
    else:
        yield place, entry.builder
        yield from ((f"{place}.{k}", v) for k, v in entry.options if k not in FREE)
        for direction, part in zip(("forward", "backward"), entry.parts, strict=False):
            yield from _options_of(part, f"{place}.{direction}")


def take_params(options: Any, named: Mapping[str, Any]) -> Params:
    """Returns the net's parameters from those by name, as the inverse of `name_params`."""
    directions, fields = leaf_names(options)
    each_layer = range(options.num_layers)
    names = {f"layers_{i}/{d}/{field}" for i in each_layer for d in directions for field in fields}
    paths = [path for path, _ in jax.tree.leaves_with_path(named)]
    got = {jax.tree_util.keystr(path, simple=True, separator="/") for path in paths}
    if differing := sorted(names ^ got):
        raise ValueError(
            f"{_kind(options)}: params must have the layers, directions and biases that the "
            f"options say, got them {'without' if differing[0] in names else 'with'} "
            f"{differing[0]}."
        )
    parts: list[Any] = []
    for i in each_layer:
        if parts and options.dropout:
            parts.append(())
        each = {d: GRUParams(**named[f"layers_{i}"][d]) for d in directions}
        parts.append(Directions(**each) if options.bidirectional else each["forward"])
    return tuple(parts) if len(parts) > 1 else parts[0]
