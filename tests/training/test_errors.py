"""Wrong arguments of losses, optimizers and batches over time are one clear message."""

import jax.numpy as jnp
import pytest
from error_cases import XS, X
from refusals import refused

import gru_jax as gj

CASES = {
    "masked_mean: mask must be (4, 12) to match values, got (4,).": lambda: gj.masked_mean(
        X, jnp.ones(4, bool)
    ),
    "accuracy: labels must be (4,) integers to match logits (4, 12), got (4, 1) int32.": (
        lambda: gj.accuracy(X, jnp.ones((4, 1), int))
    ),
    "cross_entropy: labels must be (4,) integers to match logits (4, 12), got (4,) float32.": (
        lambda: gj.cross_entropy(X, jnp.ones(4))
    ),
    "cross_entropy: label_smoothing must be 0 to 1, got 3.": lambda: gj.cross_entropy(
        X, jnp.ones(4, int), label_smoothing=3
    ),
    "squared_error: targets must be (4, 12) to match predictions, got (4,).": (
        lambda: gj.squared_error(X, jnp.ones(4))
    ),
    "make_optimizer: steps must be 1 or more and 0 <= warmup <= 1, got 0 and 0.1.": (
        lambda: gj.make_optimizer(1e-3, steps=0)
    ),
    "cut_time: batch must hold arrays [batch, time, ...] and size divide their steps, "
    "got (32, 100, 12) and 3.": lambda: gj.cut_time({"xs": XS}, 3),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
