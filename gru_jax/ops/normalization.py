"""Normalisation over the features of each row.

    N(a; g) = g * (a - mean(a)) / sqrt(var(a) + epsilon)          layer normalisation
    R(a; g) = g * a / sqrt(mean(a^2) + epsilon)                   RMS normalisation

References:
    Ba, Kiros and Hinton (2016), "Layer normalization", eq. 4. Zhang and Sennrich (2019), "Root mean
    square layer normalization", eq. 4.
"""

import jax
from jaxtyping import Array, Float

from gru_jax.ops.checks import is_finite
from gru_jax.ops.products import scale, wide


def check_epsilon(function: str, epsilon: float) -> float:
    """Returns epsilon as a float; raises unless it is above 0 and finite."""
    if not is_finite(epsilon) or epsilon <= 0:
        raise ValueError(f"{function}: epsilon must be above 0 and finite, got {epsilon!r}.")
    return float(epsilon)


def normalize(
    a: Float[Array, "*batch features"],
    gain: Float[Array, " features"],
    epsilon: float,
    axes: int = 1,
) -> Float[Array, "*batch features"]:
    """Returns N(a; g), with mean and variance over the last `axes` axes, in float32 or wider."""
    a_wide, over = a.astype(wide(a.dtype)), tuple(range(-axes, 0))
    centred = a_wide - a_wide.mean(over, keepdims=True)
    return normalize_rms(centred, gain, epsilon, axes).astype(a.dtype)


def normalize_rms(
    a: Float[Array, "*batch features"],
    gain: Float[Array, " features"],
    epsilon: float,
    axes: int = 1,
) -> Float[Array, "*batch features"]:
    """Returns R(a; g), with the mean over the last `axes` axes, in float32 or wider."""
    a_wide, over = a.astype(wide(a.dtype)), tuple(range(-axes, 0))
    factor = jax.lax.rsqrt((a_wide * a_wide).mean(over, keepdims=True) + epsilon)
    return scale(a_wide * factor, gain.astype(a_wide.dtype)).astype(a.dtype)
