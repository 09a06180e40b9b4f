"""The inputs of GRU-D, from values with gaps.

    d_t = s_t - s_{t-1} + (0 if observed at t-1, else d_{t-1}),     d_1 = 0

where s are the times of the steps.

References:
    Che et al. (2018), "Recurrent neural networks for multivariate time series with missing values".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gru_jax.types import ArrayLike


def gru_d_inputs(
    values: Float[ArrayLike, "*batch time features"], times: Shaped[ArrayLike, "*batch time"]
) -> Float[Array, "*batch time parts"]:
    """Returns the inputs of `gru_d`: values, mask, and the time since the last observation.

    That time counts from the last earlier step that observed the feature, or from the first step.

    Args:
        values: the features of each step, NaN where they are missing.
        times: the time of each step, in any unit. Differences are taken in the array's own dtype:
            float64 and int64 of NumPy are exact.

    Returns:
        The three parts side by side, 3 * features, in the dtype of `values`; 0 for missing values.

    Raises:
        ValueError: if the shapes do not fit, or the dtype of `values` is not floating.

    References:
        Che et al. (2018), the definition of delta.
    """
    values = jnp.asarray(values)
    # NumPy's times are subtracted in NumPy: JAX would first round them to 32 bits.
    module = jnp if isinstance(times, jax.Array) else np
    times = module.asarray(times)
    if values.ndim < 2 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            "gru_d_inputs: values must be [*batch, time, features] floating, "
            f"got {values.shape} {values.dtype}."
        )
    if times.shape != values.shape[:-1] or times.dtype.kind not in "iuf":
        raise ValueError(
            f"gru_d_inputs: times must be {values.shape[:-1]} numbers to match values "
            f"{values.shape}, got {times.shape} {times.dtype}."
        )
    gaps = module.diff(times, axis=-1, prepend=times[..., :1]).astype(values.dtype)
    observed, axis = ~jnp.isnan(values), values.ndim - 2
    mask = observed.astype(values.dtype)
    missing_before = jnp.concatenate([0 * mask[..., :1, :], 1 - mask[..., :-1, :]], axis)
    gaps = jnp.broadcast_to(jnp.asarray(gaps)[..., None], values.shape)
    _, since = jax.lax.associative_scan(_add_if_missing, (missing_before, gaps), axis=axis)
    return jnp.concatenate([jnp.where(observed, values, 0), mask, since], -1)


def _add_if_missing(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> Any:
    return earlier[0] * later[0], later[0] * earlier[1] + later[1]
