"""Cross-validation of the Japanese vowels."""

import numpy as np
import pytest

import gru_jax as gj
from gru_jax.app import problem as problems
from gru_jax.app.tasks import cross_validate
from gru_jax.app.tasks.japanese_vowels import VowelsConfig


def test_folds_follow_the_order_of_recording_and_cover_the_training_set():
    train, _ = gj.load_japanese_vowels()
    left_out = []
    for fold in range(cross_validate.FOLDS):
        rest, part = cross_validate.split_by_order(train, fold)
        assert (len(rest.xs), len(part.xs)) == (216, 54)
        np.testing.assert_array_equal(part.xs[0], train.xs[6 * fold])
        left_out += [x.tobytes() for x in part.xs]
    assert sorted(left_out) == sorted(x.tobytes() for x in train.xs)


@pytest.mark.slow("trains a network")
def test_cross_validation_tests_each_fold_on_what_it_left_out(monkeypatch):
    """After one epoch the best parameters are the last; all utterances are left out once."""
    monkeypatch.setattr(cross_validate, "SEEDS", 1)
    seen, measure = [], problems.measure

    def count(trained, prepared):
        seen.append(len(prepared.xs))
        return measure(trained, prepared)

    monkeypatch.setattr(problems, "measure", count)
    rows = cross_validate.cross_validate(VowelsConfig(hidden=4, layers=1, epochs=1))
    assert rows["best"] == rows["last"]
    assert rows["best"].keys() == {"loss", "accuracy"}
    assert 0 < rows["best"]["accuracy"] < 1
    assert [n for n in seen if n == 54] == [54] * 2 * cross_validate.FOLDS
