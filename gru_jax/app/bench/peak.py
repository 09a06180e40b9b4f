"""How fast this machine multiplies matrices, beside which a GRU's own products are seen.

forward pass     2 * batch * time * (input + hidden) * 3 * hidden    operations
training step    three times as many: for the states, the inputs' and the weights' gradients
"""

from collections.abc import Callable, Sequence

import numpy as np

from gru_jax.app.bench.problem import Size

SIDE = 1024
"""Of the square matrices: large enough to keep all cores busy, small enough to stay in a cache."""


def make_product() -> Callable[[], np.ndarray]:
    """Returns what multiplies two square float32 matrices, with NumPy, on all cores."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    return lambda: a @ b


def rate(seconds: Sequence[float]) -> float | None:
    """Returns the operations in a second of the fastest product, None if there is none."""
    return 2 * SIDE**3 / min(seconds) if seconds else None


def operations(size: Size, *, train: bool) -> int:
    """Returns how many operations the products of a training step or a forward pass are."""
    forward = 2 * size.batch * size.time * (size.input + size.hidden) * 3 * size.hidden
    return 3 * forward if train else forward
