"""The Flax modules' options, the net that these describe, and names for its parameters.

    the net's parameters                            by name
    GRUParams(W_r, ...)                             {"layers_0": {"forward": {"W_r": ...}}}
    Directions(GRUParams(...), GRUParams(...))      {"layers_0": {"forward": ..., "backward": ...}}
    (GRUParams(...), (), GRUParams(...)), a stack   {"layers_0": ..., "layers_1": ...}

`options` is a module, with a `hidden_size` and the attributes of `Options`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.architecture import Architecture, bind
from gru_jax.cells.gru import gru
from gru_jax.cells.gru_params import GRUParams
from gru_jax.layers.combine import stack
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import dropout
from gru_jax.layers.recurrent import Directions, bidirectional, recurrent
from gru_jax.ops.activations import Activation
from gru_jax.ops.checks import check_count
from gru_jax.ops.initializers import init_glorot_uniform, init_orthogonal
from gru_jax.sequence.options import BackendName
from gru_jax.types import ArrayLike, Cell, Initializer, Key, Params, Shape

Unbox: TypeAlias = Callable[[Any], Array]
"""Returns the array of an initialiser's result without its metadata."""

Box: TypeAlias = Callable[[Any, Any], Any]
"""`(boxed, leaf) -> boxed`: puts another array, or a placeholder, into the box of metadata."""

INITIALIZERS = ("kernel_init", "recurrent_init", "bias_init", "update_bias_init")
CELL = ("reset", "activation", "gate_activation", "clip")
RANDOM = ("zoneout", "recurrent_dropout", "drop_connect")
RUN = (*RANDOM, "memory", "chunk_size", "backend")
FREE = (*RUN, "dtype")
"""Options that do not change the result, so that a net and a module may differ in them."""


@dataclass(kw_only=True, repr=False, eq=False)
class Options:
    """The options that `gru_jax.linen.GRU` and `gru_jax.nnx.GRU` share, by keyword.

    Attributes:
        num_layers: layers, each over the outputs of the one before.
        bidirectional: whether each layer runs in both directions, outputs side by side.
        reset: whether the reset gate acts on the state "before" its product with the weights, or
            "after" it, on the product (PyTorch, cuDNN, Keras' default, Flax's `GRUCell`).
        dropout: probability that a feature between two layers is zeroed.
        zoneout: probability that a feature of the state stays as it was, drawn for each step; in
            evaluation that share of the old state is kept.
        recurrent_dropout: probability that the gates cannot see a feature of the old state, drawn
            once for each sequence.
        drop_connect: probability that a weight on the state is zero, drawn once for the batch.
        deterministic: True is evaluation, False training, where the four above are random; here or
            in the call.
        activation: of the candidate, a name in `gru_jax.ops.activations.ACTIVATIONS` or a function.
        gate_activation: of both gates, likewise.
        clip: keeps each state within +-clip; None does not.
        dtype: of the computation and the results; None promotes inputs, state and parameters
            together.
        param_dtype: of the parameters.
        kernel_init: of the rows of W_* that act on x. Where it gives metadata, as with Flax's
            `with_partitioning(init, (None, "model"))`, they become those of W_*.
        recurrent_init: of the rows that act on the state.
        bias_init: of the biases, and of their metadata.
        update_bias_init: of b_z, if not `bias_init`; see `gj.init_chrono`.
        memory: the residuals for reverse mode, "gates", "states" or "chunked"; see `gj.unroll`.
        chunk_size: steps of one chunk, with the last two.
        backend: "auto", "xla", "scan", "cpu" or "gpu"; see `gj.unroll`.
    """

    num_layers: int = 1
    bidirectional: bool = False
    reset: Literal["before", "after"] = "before"
    dropout: float = 0.0
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    drop_connect: float = 0.0
    deterministic: bool | None = None
    activation: Activation = "tanh"
    gate_activation: Activation = "sigmoid"
    clip: float | None = None
    dtype: jax.typing.DTypeLike | None = None
    param_dtype: jax.typing.DTypeLike = jnp.float32
    kernel_init: Initializer = init_glorot_uniform
    recurrent_init: Initializer = init_orthogonal
    bias_init: Initializer = jax.nn.initializers.zeros
    update_bias_init: Initializer | None = None
    memory: Literal["gates", "states", "chunked"] | None = None
    chunk_size: int | None = None
    backend: BackendName | None = None


def make_layer(options: Any, unbox: Unbox) -> Layer:
    """Returns one of the layers, which differ only in the size of their inputs."""

    def plain(initializer: Initializer | None) -> Any:
        return initializer and bind(_init_plain, unbox, initializer)

    cell = gru(
        options.hidden_size,
        dtype=options.param_dtype,
        **{name: getattr(options, name) for name in CELL},
        **{name: plain(getattr(options, name)) for name in INITIALIZERS},
    )
    combine = bidirectional if options.bidirectional else recurrent
    return combine(cell, **{name: getattr(options, name) for name in RUN})


def _init_plain(unbox: Unbox, initializer: Initializer, *args: Any) -> Array:
    return unbox(initializer(*args))


def make_net(options: Any, unbox: Unbox) -> Layer:
    """Returns the layers with dropout between them, or a single layer."""
    count, rate = options.num_layers, options.dropout
    check_count("GRU", "num_layers", count)
    for name in ("dtype", "param_dtype"):
        dtype = getattr(options, name)
        if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"GRU: {name} must be a floating type, got {jnp.dtype(dtype)}.")
    layer = make_layer(options, unbox)
    if count > 1:
        between = (dropout(rate), layer) if rate else (layer,)
        return stack(layer, *between * (count - 1))
    if rate:
        raise ValueError(
            f"GRU: dropout must be 0 with num_layers=1, since it stands between layers, got {rate}."
        )
    return layer


def input_sizes(options: Any, input_size: int) -> dict[str, int]:
    """Returns the size of each layer's inputs by the layer's name."""
    width = options.hidden_size * (1 + options.bidirectional)
    return {f"layers_{i}": width if i else input_size for i in range(options.num_layers)}


def leaf_names(options: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of the directions, and of the arrays in each."""
    directions = ("forward", "backward") if options.bidirectional else ("forward",)
    return directions, GRUParams._fields if options.reset == "after" else GRUParams._fields[:-1]


def is_random(options: Any) -> bool:
    """Returns whether anything is random in training."""
    return any(getattr(options, name) for name in ("dropout", *RANDOM))


def init_layer(
    options: Any, unbox: Unbox, box: Box, key: Key, input_size: int
) -> dict[str, dict[str, Any]]:
    """Returns a layer's first parameters by direction and name, in their boxes of metadata.

    Raises:
        ValueError: if the initialiser of a part has metadata of its own.
    """
    named = name_layer(make_layer(options, unbox).init(key, input_size))
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
                f"GRU: {part} must give no metadata that {whole} does not give, too, got {got}."
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


def name_layer(params: Any) -> dict[str, dict[str, Any]]:
    """Returns one layer's parameters by direction and name."""
    directions = params._asdict() if isinstance(params, Directions) else {"forward": params}
    for each in directions.values():
        if not isinstance(each, GRUParams):
            raise ValueError(
                "GRU: params must be GRUParams, Directions of them, or a tuple of these, "
                f"got a {type(each).__name__}."
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
                f"GRU: net must have {name} {needed}, as this module was built, got {got}: build "
                "the module as the net is."
            )
    layers: Any = (params,) if isinstance(params, GRUParams | Directions) else params
    layers = [layer for layer in layers if not isinstance(layer, tuple) or layer]
    named = {f"layers_{i}": name_layer(layer) for i, layer in enumerate(layers)}
    params = take_params(options, named)
    W_r = jax.tree.leaves(params)[0]
    xs = jax.ShapeDtypeStruct((1, W_r.shape[0] - options.hidden_size), W_r.dtype)
    jax.eval_shape(own.apply, params, xs)  # Raises where shapes do not fit each other.
    if W_r.dtype != options.param_dtype:
        raise ValueError(
            f"GRU: params must be {jnp.dtype(options.param_dtype)}, as param_dtype says, "
            f"got {W_r.dtype}."
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
            "GRU: params must have the layers, directions and biases that the options say, "
            f"got them {'without' if differing[0] in names else 'with'} {differing[0]}."
        )
    parts: list[Any] = []
    for i in each_layer:
        if parts and options.dropout:
            parts.append(())
        each = {d: GRUParams(**named[f"layers_{i}"][d]) for d in directions}
        parts.append(Directions(**each) if options.bidirectional else each["forward"])
    return tuple(parts) if len(parts) > 1 else parts[0]


def cast(dtype: jax.typing.DTypeLike | None, tree: PyTree[ArrayLike]) -> PyTree[Array]:
    """Returns all arrays in one dtype; None is the one that they are promoted to together."""
    dtype = jnp.result_type(*jax.tree.leaves(tree)) if dtype is None else dtype
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)
