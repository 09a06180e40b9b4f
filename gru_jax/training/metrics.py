"""Metrics of a classifier, for people to read.

    accuracy          1 where argmax(logits) == label, else 0
    confusion_matrix  counts[label, prediction]

They have no gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from gru_jax.training.checks import describe
from gru_jax.training.losses import check_labels
from gru_jax.types import ArrayLike


def accuracy(
    logits: Float[ArrayLike, "*batch classes"], labels: Integer[ArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """Returns 1 where the largest logit is the label's, else 0, in float32; unreduced."""
    logits, labels = check_labels("accuracy", logits, labels)
    with jax.numpy_dtype_promotion("standard"):  # Labels are integers of any size.
        return (jnp.argmax(logits, -1) == labels).astype(jnp.float32)


def confusion_matrix(
    labels: Integer[ArrayLike, " cases"],
    predictions: Integer[ArrayLike, " cases"],
    num_classes: int,
) -> Int[Array, "classes classes"]:
    """Counts the cases of each class (row) that were predicted as each class (column).

    Args:
        labels: the true classes, from 0; their values are not checked.
        predictions: the predicted classes.
        num_classes: rows and columns.

    Raises:
        ValueError: unless labels and predictions are integers, one prediction for each label.
    """
    labels, predictions = jnp.asarray(labels), jnp.asarray(predictions)
    integers = all(jnp.issubdtype(a.dtype, jnp.integer) for a in (labels, predictions))
    if labels.ndim != 1 or labels.shape != predictions.shape or not integers:
        raise ValueError(
            "confusion_matrix: labels and predictions must be [cases] integers, got "
            f"{describe(labels)} and {describe(predictions)}."
        )
    return jnp.zeros((num_classes, num_classes), jnp.int32).at[labels, predictions].add(1)
