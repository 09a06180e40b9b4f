"""Losses, one for each element, and their mean under a mask.

    cross_entropy  -log softmax(logits)[label]
    squared_error  (prediction - target)^2
    quantile_loss  max(q (target - prediction), (q - 1) (target - prediction))
    masked_mean    sum(mask * values) / max(sum(mask), 1)

`masked_mean` leaves padding, and rows that only fill up a batch, out of the loss.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Integer, Shaped

from gru_jax.types import ArrayLike, Shape


def cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Returns -log p(label) in nats, with p = softmax(logits).

    Args:
        logits: unnormalised log-probabilities.
        labels: classes, from 0 to one below the number of logits; the loss of others is NaN.
        label_smoothing: share of the label's weight that is spread evenly over all classes.

    Returns:
        One loss for each label.

    Raises:
        ValueError: if the shapes do not fit, labels are not integers, or `label_smoothing` is not
            between 0 and 1.

    References:
        Szegedy et al. (2016), "Rethinking the Inception architecture", section 7, for smoothing.
    """
    logits, labels = check_labels("cross_entropy", logits, labels)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}.")
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    loss = jnp.where((labels >= 0) & (labels < logits.shape[-1]), loss, jnp.nan)
    if label_smoothing:
        even = jnp.full_like(logits, 1 / logits.shape[-1])
        spread = optax.losses.softmax_cross_entropy(logits, even)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return loss


def squared_error(
    predictions: Float[ArrayLike, "*shape"], targets: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns (prediction - target)^2 for each element; raises ValueError if shapes differ."""
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"squared_error: targets must be {predictions.shape} to match predictions, "
            f"got {targets.shape}."
        )
    return optax.losses.squared_error(predictions, targets)


def quantile_loss(
    predictions: Float[ArrayLike, "*shape quantiles"],
    targets: Float[ArrayLike, "*shape"],
    quantiles: Sequence[float],
) -> Float[Array, "*shape quantiles"]:
    """Returns the quantile (pinball) loss of each prediction.

    Its expectation is smallest where the prediction is the quantile q of the targets. At q = 0.5 it
    is half the absolute error.

    Args:
        predictions: the predicted quantiles, one for each of `quantiles`, of each target.
        targets: the observed values; a NaN target has NaN losses, which `masked_mean` leaves out.
        quantiles: numbers between 0 and 1, e.g. from `level_quantiles`.

    Raises:
        ValueError: if the shapes do not fit, or a quantile is not between 0 and 1.

    References:
        Koenker and Bassett (1978), "Regression quantiles", equation 1.1.
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    q = check_quantiles("quantile_loss", predictions.shape, targets.shape, quantiles)
    q = jnp.broadcast_to(jnp.asarray(q, predictions.dtype), predictions.shape)
    error = targets[..., None] - predictions
    return jnp.where(error >= 0, q * error, (q - 1) * error)


def masked_mean(
    values: Shaped[ArrayLike, "*shape"], mask: Bool[ArrayLike, "*shape"] | None = None
) -> Float[Array, ""]:
    """Returns the mean of the values where `mask` is True; zero if `mask` is False everywhere.

    Masked values, NaN and inf included, change neither the mean nor its gradient.

    Args:
        values: an array of any shape.
        mask: of the same shape; None counts all values.

    Raises:
        ValueError: if the shapes differ, or the mask is not boolean.
    """
    values = jnp.asarray(values)
    mask = jnp.ones(values.shape, bool) if mask is None else jnp.asarray(mask)
    if mask.shape != values.shape:
        raise ValueError(
            f"masked_mean: mask must be {values.shape} to match values, got {mask.shape}."
        )
    if mask.dtype != bool:
        raise ValueError(
            f"masked_mean: mask must be bool, True where a value counts, got {mask.dtype}."
        )
    # In float32 or wider: a sum of many half-precision numbers overflows and loses digits.
    with jax.numpy_dtype_promotion("standard"):  # Strict promotion rejects promote_types.
        wide = jnp.promote_types(values.dtype, jnp.float32)
    total = jnp.where(mask, values.astype(wide), 0).sum()
    mean = total / jnp.maximum(mask.sum(), 1).astype(wide)
    return mean.astype(values.dtype) if jnp.issubdtype(values.dtype, jnp.floating) else mean


def check_labels(function: str, logits: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    """Returns both as arrays; raises ValueError unless each row has one integer label."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"{function}: labels must be {logits.shape[:-1]} integers to match logits "
            f"{logits.shape}, got {labels.shape} {labels.dtype}."
        )
    return logits, labels


def check_quantiles(
    function: str, predictions: Shape, targets: Shape, quantiles: Sequence[float]
) -> np.ndarray:
    """Returns the quantiles; raises ValueError unless each target has a prediction for each."""
    q = np.asarray(quantiles, np.float64)
    if q.ndim != 1 or not ((q > 0) & (q < 1)).all():
        raise ValueError(f"{function}: quantiles must be numbers between 0 and 1, got {quantiles}.")
    if predictions != (*targets, len(q)):
        raise ValueError(
            f"{function}: predictions must be {(*targets, len(q))}, {len(q)} quantiles for each "
            f"of the targets {targets}, got {predictions}."
        )
    return q
