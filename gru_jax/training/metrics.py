"""Numbers for people."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from gru_jax.training.losses import check_labels
from gru_jax.types import ArrayLike


def accuracy(
    logits: Float[ArrayLike, "*batch classes"], labels: Integer[ArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """Returns 1 where the largest logit is the label's, else 0, in float32; unreduced."""
    logits, labels = check_labels("accuracy", logits, labels)
    return (jnp.argmax(logits, -1) == labels).astype(jnp.float32)


def confusion_matrix(
    labels: Integer[ArrayLike, " cases"],
    predictions: Integer[ArrayLike, " cases"],
    num_classes: int,
) -> Int[Array, "classes classes"]:
    """Returns how many cases of each class (row) were taken for each class (column).

    Args:
        labels: the true classes, from 0; values outside the classes are not checked.
        predictions: the classes they were taken for.
        num_classes: rows and columns.
    """
    counts = jnp.zeros((num_classes, num_classes), jnp.int32)
    return counts.at[labels, predictions].add(1)
