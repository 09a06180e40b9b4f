"""The names that options take, without JAX: --help needs them alone."""

from typing import Literal, TypeAlias, get_args

PeerName: TypeAlias = Literal[
    "xla",
    "linen",
    "linen_scan",
    "nnx",
    "equinox",
    "haiku",
    "keras",
    "torch",
    "onnx",
    "linen_lstm",
]
FULL_NAMES = {
    "gru_jax": "gru_jax",
    "xla": "gru_jax without its kernel (XLA)",
    "linen": "Flax linen",
    "linen_scan": "Flax linen, nn.scan with resets",
    "nnx": "Flax nnx",
    "equinox": "Equinox",
    "haiku": "Haiku",
    "keras": "Keras",
    "torch": "PyTorch",
    "onnx": "ONNX Runtime",
    "linen_lstm": "Flax linen's ConvLSTM, a different function",
}
"""The names for readers who do not know the flags."""

Measure: TypeAlias = Literal["forward", "train"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

DeviceName: TypeAlias = Literal["cpu", "gpu"]
Precision: TypeAlias = Literal["highest", "tf32"]
