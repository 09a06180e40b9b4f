"""Who is measured: ours first, in two ways, then other libraries in the order of the tables."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from gru_jax.app.bench import in_jax, onednn, outside
from gru_jax.app.bench.contender import Contender
from gru_jax.app.bench.problem import Problem, Reset

PeerName: TypeAlias = Literal[
    "xla", "linen", "nnx", "equinox", "haiku", "keras", "torch", "onnx", "onednn"
]


class Peer(NamedTuple):
    """A library.

    Attributes:
        modules: what it needs, names in Python, each with its name on the package index.
        resets: the forms that it computes.
        build: `(problem, reset) -> Contender`.
        in_jax: whether it is written in JAX.
        absent: `() -> why`, what else it needs and lacks, None if nothing.
    """

    modules: dict[str, str]
    resets: tuple[Reset, ...]
    build: Callable[[Problem, Reset], Contender]
    in_jax: bool = True
    absent: Callable[[], str | None] = lambda: None


BOTH: tuple[Reset, ...] = ("before", "after")
OURS = "gru_jax"
XLA = "xla"
"""Ours, too, but always the loop in JAX, which is what there is where no kernel is."""
PEERS = {
    OURS: Peer({"gru_jax": "gru_jax"}, BOTH, in_jax.build_ours),
    XLA: Peer({"gru_jax": "gru_jax"}, BOTH, partial(in_jax.build_ours, backend="xla")),
    "linen": Peer({"flax": "flax"}, ("after",), in_jax.build_linen),
    "nnx": Peer({"flax": "flax"}, ("after",), in_jax.build_nnx),
    "equinox": Peer({"equinox": "equinox"}, ("after",), in_jax.build_equinox),
    "haiku": Peer({"haiku": "dm-haiku"}, ("before",), in_jax.build_haiku),
    "keras": Peer({"keras": "keras"}, BOTH, in_jax.build_keras),
    "torch": Peer({"torch": "torch"}, ("after",), outside.build_torch, in_jax=False),
    "onnx": Peer(
        {"onnx": "onnx", "onnxruntime": "onnxruntime"}, BOTH, outside.build_onnx, in_jax=False
    ),
    "onednn": Peer({}, BOTH, onednn.build_onednn, in_jax=False, absent=onednn.absent),
}
