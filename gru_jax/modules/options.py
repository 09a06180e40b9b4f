"""The Flax modules' options, and the cell and the net that these describe.

`options` is a module, with a `hidden_size` and the attributes of `Options` or `ScanOptions`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.architecture import bind
from gru_jax.cells.gru import gru
from gru_jax.layers.combine import stack
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import dropout
from gru_jax.layers.recurrent import bidirectional, recurrent
from gru_jax.ops.activations import Activation
from gru_jax.ops.checks import check_count
from gru_jax.ops.initializers import init_glorot_uniform, init_lecun_normal, init_orthogonal
from gru_jax.sequence.options import BackendName
from gru_jax.types import Cell, Initializer

Unbox: TypeAlias = Callable[[Any], Array]
"""Returns the array of an initialiser's result without its metadata."""

INITIALIZERS = ("kernel_init", "recurrent_init", "bias_init", "update_bias_init")
CELL = ("reset", "activation", "gate_activation", "clip")
RANDOM = ("zoneout", "recurrent_dropout", "drop_connect")
BACKEND = ("memory", "chunk_size", "backend")
RUN = (*RANDOM, *BACKEND)
FREE = (*RUN, "dtype")
"""Options that do not change the result, so that a net and a module may differ in them."""


@dataclass(kw_only=True, repr=False, eq=False)
class CellOptions:
    """The options that all GRU modules share, by keyword.

    Attributes:
        reset: whether the reset gate acts on the state "before" its product with the weights, or
            "after" it, on the product (PyTorch, cuDNN, Keras' default, Flax's `GRUCell`).
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

    reset: Literal["before", "after"] = "before"
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


@dataclass(kw_only=True, repr=False, eq=False)
class Options(CellOptions):
    """The options that `gru_jax.linen.GRU` and `gru_jax.nnx.GRU` share: `CellOptions`, and these.

    Attributes:
        num_layers: layers, each over the outputs of the one before.
        bidirectional: whether each layer runs in both directions, outputs side by side.
        dropout: probability that a feature between two layers is zeroed.
        zoneout: probability that a feature of the state stays as it was, drawn for each step; in
            evaluation that share of the old state is kept.
        recurrent_dropout: probability that the gates cannot see a feature of the old state, drawn
            once for each sequence.
        drop_connect: probability that a weight on the state is zero, drawn once for the batch.
        deterministic: True is evaluation, False training, where the four above are random; here or
            in the call.
        time_axis: the time axis of `xs`, `mask`, `resets` and `ys`, as in `gj.unroll`; 0 is
            time-major. `ScannedRNN` copies less, for layers run batch-major.
        carry_first: True returns `(h_last, ys)` from a call and `(state, y)` from `step`, in the
            order of `jax.lax.scan` and of Flax's cells.
    """

    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    drop_connect: float = 0.0
    deterministic: bool | None = None
    time_axis: int | None = None
    carry_first: bool = False


@dataclass(kw_only=True, repr=False, eq=False)
class ScanOptions(CellOptions):
    """`CellOptions` for `ScannedRNN`, with the defaults of Flax's `GRUCell`: one layer, forward."""

    reset: Literal["before", "after"] = "after"
    kernel_init: Initializer = init_lecun_normal

    # Constants, not options.
    num_layers, bidirectional, dropout = 1, False, 0.0
    zoneout, recurrent_dropout, drop_connect = 0.0, 0.0, 0.0


def make_cell(options: Any, unbox: Unbox) -> Cell:
    """Returns the cell of each layer."""

    def plain(initializer: Initializer | None) -> Any:
        return initializer and bind(_init_plain, unbox, initializer)

    for name in ("dtype", "param_dtype"):
        dtype = getattr(options, name)
        if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
            function = type(options).__name__
            raise ValueError(f"{function}: {name} must be a floating type, got {jnp.dtype(dtype)}.")
    return gru(
        options.hidden_size,
        dtype=options.param_dtype,
        **{name: getattr(options, name) for name in CELL},
        **{name: plain(getattr(options, name)) for name in INITIALIZERS},
    )


def _init_plain(unbox: Unbox, initializer: Initializer, *args: Any) -> Array:
    return unbox(initializer(*args))


def make_layer(options: Any, unbox: Unbox) -> Layer:
    """Returns one of the layers, which differ only in the size of their inputs."""
    combine = bidirectional if options.bidirectional else recurrent
    return combine(make_cell(options, unbox), **{name: getattr(options, name) for name in RUN})


def make_net(options: Any, unbox: Unbox) -> Layer:
    """Returns the layers with dropout between them, or a single layer."""
    count, rate = options.num_layers, options.dropout
    check_count("GRU", "num_layers", count)
    layer = make_layer(options, unbox)
    if count > 1:
        between = (dropout(rate), layer) if rate else (layer,)
        return stack(layer, *between * (count - 1))
    if rate:
        raise ValueError(
            f"GRU: dropout must be 0 with num_layers=1, since it stands between layers, got {rate}."
        )
    return layer


def is_random(options: Any) -> bool:
    """Returns whether anything is random in training."""
    return any(getattr(options, name) for name in ("dropout", *RANDOM))
