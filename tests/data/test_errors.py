"""Wrong sequences and batches are one clear message."""

import numpy as np
import pytest
from refusals import refused

import gru_jax as gj

DATA = gj.Dataset([np.zeros((3, 2)), np.zeros((5, 2))], np.arange(2))

CASES = {
    "pad: sequences must be one or more, got none.": lambda: gj.pad([]),
    "pad: sequences must all be [time, *features] with the same features, got shapes "
    "[(2, 1), (2, 2)].": lambda: gj.pad([np.zeros((2, 1)), np.zeros((2, 2))]),
    "pad: sequences [time] must be integers, got float64.": lambda: gj.pad([np.zeros(2)]),
    "pad: sequences must have 2 steps or fewer, got 3.": lambda: gj.pad([np.zeros((3, 1))], 2),
    "split: fraction must be 0 < fraction < 1, got 1.": lambda: gj.split(DATA, 1, seed=0),
    "make_batches: batch_size and steps must be 1 or more, got 0 and 64.": lambda: next(
        gj.make_batches(DATA, 0)
    ),
    "make_batches: boundaries must rise to 5 or more, the longest sequence, got [3].": (
        lambda: next(gj.make_batches(DATA, 1, boundaries=[3]))
    ),
    "make_batches: dataset must be a Dataset(xs, targets), got a ndarray.": lambda: next(
        gj.make_batches(np.zeros((2, 3, 2)), 1)
    ),
    "make_batches: dataset must have one target for each of one or more sequences, "
    "got 2 sequences and 1 targets.": lambda: next(
        gj.make_batches(DATA._replace(targets=np.arange(1)), 1)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
