"""Arrays from outside, in JAX with every bit that they had."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gru_jax.types import ArrayLike


def exact(function: str, name: str, value: ArrayLike) -> Array:
    """Returns a JAX array of the same dtype.

    Raises:
        ValueError: if JAX would cut it to 32 bits.
    """
    array = jnp.asarray(value)
    if array.dtype != value.dtype:
        raise ValueError(
            f"{function}: {name} must be {array.dtype} while JAX holds 32 bits, got {value.dtype}: "
            'cast it, or begin with jax.config.update("jax_enable_x64", True), which in a shell is '
            "JAX_ENABLE_X64=1."
        )
    return array


def check_dtypes(function: str, weights: PyTree[Array]) -> None:
    """Raises unless all arrays have one dtype."""
    dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(weights)})
    if len(dtypes) > 1:
        raise ValueError(f"{function}: weights must have one dtype, got {' and '.join(dtypes)}.")


def floats(
    function: str, name: str, value: ArrayLike, shape: tuple[int, ...] | None = None
) -> Array:
    """Returns weights as a JAX array of the same dtype.

    Raises:
        ValueError: unless they are floating-point numbers of this shape.
    """
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{function}: {name} must be floating-point numbers, got {value.dtype}.")
    if shape is not None and value.shape != shape:
        raise ValueError(f"{function}: {name} must be {shape}, got {value.shape}.")
    return exact(function, name, value)


def as_numpy(function: str, name: str, value: Any) -> ArrayLike:
    """Returns a PyTorch tensor as a NumPy array, and any other value unchanged.

    Raises:
        ValueError: unless it is a whole tensor of a dtype that NumPy has.
    """
    if not hasattr(value, "untyped_storage"):
        return value
    kind = str(value.layout).removeprefix("torch.")
    kind = "quantized" if value.is_quantized else "meta" if value.is_meta else kind
    if kind != "strided" or value.nbytes > value.untyped_storage().nbytes():
        raise ValueError(
            f"{function}: {name} must be a tensor with all its numbers, got "
            f"{'fewer' if kind == 'strided' else kind}."
        )
    value = value.detach().cpu().resolve_neg()
    if str(value.dtype) == "torch.bfloat16":
        import ml_dtypes

        return value.float().numpy().astype(ml_dtypes.bfloat16)
    try:
        return value.numpy()
    except TypeError as error:  # of 8 bits and fewer
        raise ValueError(
            f"{function}: {name} must be of a dtype that NumPy has, got {value.dtype}."
        ) from error
