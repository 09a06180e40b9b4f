"""Who is measured: ours first, then the other libraries in the order of the tables."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from gru_jax.bench import in_jax, outside
from gru_jax.bench.contender import Contender
from gru_jax.bench.problem import Problem, Reset

PeerName: TypeAlias = Literal["linen", "nnx", "equinox", "haiku", "keras", "torch", "onnx"]


class Peer(NamedTuple):
    """A library.

    Attributes:
        modules: what it needs, names in Python, each with its name on the package index.
        resets: the forms that it computes.
        build: `(problem, reset) -> Contender`.
        in_jax: whether it is written in JAX.
    """

    modules: dict[str, str]
    resets: tuple[Reset, ...]
    build: Callable[[Problem, Reset], Contender]
    in_jax: bool = True


BOTH: tuple[Reset, ...] = ("before", "after")
OURS = "gru_jax"
PEERS = {
    OURS: Peer({"gru_jax": "gru_jax"}, BOTH, in_jax.build_ours),
    "linen": Peer({"flax": "flax"}, ("after",), in_jax.build_linen),
    "nnx": Peer({"flax": "flax"}, ("after",), in_jax.build_nnx),
    "equinox": Peer({"equinox": "equinox"}, ("after",), in_jax.build_equinox),
    "haiku": Peer({"haiku": "dm-haiku"}, ("before",), in_jax.build_haiku),
    "keras": Peer({"keras": "keras"}, BOTH, in_jax.build_keras),
    "torch": Peer({"torch": "torch"}, ("after",), outside.build_torch, in_jax=False),
    "onnx": Peer(
        {"onnx": "onnx", "onnxruntime": "onnxruntime"}, BOTH, outside.build_onnx, in_jax=False
    ),
}
