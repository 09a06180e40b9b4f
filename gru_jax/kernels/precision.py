"""The precision of the products around a kernel: on GPUs exact, unless the user says otherwise."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import jax

SETTING = "jax_default_matmul_precision"

Result = TypeVar("Result")


def exact_on_gpus(function: Callable[..., Result]) -> Callable[..., Result]:
    """Makes the products in `function` full float32 products if its `kernel` is "gpu".

    By default JAX rounds factors to TF32 on GPUs. A setting of the user's holds as it is.
    """

    @wraps(function)
    def run(*operands: jax.Array, kernel: str = "cpu", **static: object) -> Result:
        if kernel != "gpu" or getattr(jax.config, SETTING):
            return function(*operands, **static)
        with jax.default_matmul_precision("highest"):
            return function(*operands, **static)

    return run
