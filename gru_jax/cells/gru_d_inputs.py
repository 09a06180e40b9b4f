"""The inputs of GRU-D, from values with gaps.

    d_t = s_t - s_{t-1} + (0 if observed at t-1, else d_{t-1}),     d_1 = 0

where s are the times of the steps.

References:
    Che et al. (2018), "Recurrent neural networks for multivariate time series with missing values".
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gru_jax.types import ArrayLike


def gru_d_inputs(
    values: Float[ArrayLike, "*batch time features"], times: Shaped[ArrayLike, "*batch time"]
) -> Float[Array, "*batch time parts"]:
    """Returns the inputs of `gru_d`: values, mask, and the time since the last observation.

    That time counts from the last earlier step that observed the feature, or from the first step.

    Args:
        values: the features of each step, NaN where they are missing.
        times: the time of each step, in any unit and dtype. Differences are taken in that dtype.

    Returns:
        The three parts side by side, 3 * features, in the dtype of `values`; 0 for missing values.

    Raises:
        ValueError: if the shapes do not fit, or the dtype of `values` is not floating.

    References:
        Che et al. (2018), the definition of delta.
    """
    values, times = jnp.asarray(values), jnp.asarray(times)
    if values.ndim < 2 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            "gru_d_inputs: values must be [*batch, time, features] floating, "
            f"got {values.shape} {values.dtype}."
        )
    if times.shape != values.shape[:-1]:
        raise ValueError(
            f"gru_d_inputs: times must be {values.shape[:-1]} to match values {values.shape}, "
            f"got {times.shape}."
        )
    observed, axis = ~jnp.isnan(values), values.ndim - 2
    t = jax.lax.broadcasted_iota(jnp.int32, values.shape, axis)
    last = jax.lax.cummax(jnp.where(observed, t, 0), axis)
    last_before = jnp.concatenate([jnp.zeros_like(last[..., :1, :]), last[..., :-1, :]], axis)
    now = jnp.broadcast_to(times[..., None], values.shape)
    since = (now - jnp.take_along_axis(now, last_before, axis)).astype(values.dtype)
    mask = observed.astype(values.dtype)
    return jnp.concatenate([jnp.where(observed, values, 0), mask, since], -1)
