"""Statistics, masks, splits, losses and metrics of `classify`, beside NumPy's."""

import jax.numpy as jnp
import numpy as np
import pytest
import waves

import gru_jax as gj
from gru_jax.app.tasks import classify, labelled
from gru_jax.app.tasks.classify import CLASSIFY, ClassifyConfig
from gru_jax.app.tasks.labelled import Cases
from gru_jax.app.tasks.task import Parts

CONFIG = ClassifyConfig(data="some.csv")
FACTS = {"classes": ["a", "b", "c"], "counts": [7, 2, 1]}


def draw(rng, *, classes=("a", "b"), gaps=(0.0, 0.3, 0.0, 0.5), lengths=(5, 2, 7, 4, 6)):
    """Returns cases of four channels with values of their own sizes; the third is constant."""
    xs = []
    for n in lengths:
        x = rng.normal(size=(n, 4)) * [1, 100, 0, 1e-3] + [5, -1000, 0.1, 0]
        x[rng.random(x.shape) < gaps] = np.nan
        xs.append(x.astype(np.float32))
    targets = np.arange(len(xs)) % 2 if classes else rng.normal(3, 4, len(xs))
    return Cases(xs, targets.astype(np.int32 if classes else float), tuple("wxyz"), classes)


def learn(cases):
    return labelled.learn(CONFIG, Parts(cases, cases, cases))


def mean(pair):
    return np.asarray(pair.total).sum() / np.asarray(pair.weight).sum()


def test_statistics_are_those_of_the_observed_values(rng):
    cases = draw(rng)
    facts = learn(cases)
    steps = np.concatenate(cases.xs).astype(float)
    for i, name in enumerate("wxyz"):
        known = [value for value in steps[:, i] if not np.isnan(value)]
        middle = sum(known) / len(known)
        spread = (sum((value - middle) ** 2 for value in known) / len(known)) ** 0.5
        np.testing.assert_allclose(facts["mean"][i], middle, rtol=1e-12)
        np.testing.assert_allclose(facts["std"][i], 1 if name == "y" else spread, rtol=1e-12)
    assert facts["masked"] == ["x", "z"]
    assert facts["counts"] == [3, 2]
    assert labelled.find_constant(cases) == ["y"]


def test_missing_values_become_zeros_beside_a_mask(rng):
    """Also in a channel that has no mask, because it is whole in training."""
    facts = learn(draw(rng))
    cases = draw(rng, gaps=(0.4, 0.4, 0.4, 0.4))
    data = CLASSIFY.prepare(facts, cases)
    for x, actual in zip(cases.xs, data.xs, strict=True):
        assert actual.dtype == np.float32
        expected = np.zeros((len(x), 6))
        for t, i in np.argwhere(~np.isnan(x)):
            expected[t, i] = (float(x[t, i]) - facts["mean"][i]) / facts["std"][i]
            if i in (1, 3):
                expected[t, {1: 4, 3: 5}[i]] = 1
        np.testing.assert_allclose(actual, expected, atol=2e-6)
    np.testing.assert_array_equal(data.targets, cases.targets)
    assert classify.name_inputs(facts) == ("w", "x", "y", "z", "x observed", "z observed")
    assert CLASSIFY.input_size(facts) == 6


def test_numbers_are_standardised_and_answered_in_their_units(rng):
    cases = draw(rng, classes=())
    facts = learn(cases)
    middle, spread = facts["target"]
    assert (middle, spread) == pytest.approx((cases.targets.mean(), cases.targets.std()), 1e-12)
    data = CLASSIFY.prepare(facts, cases)
    np.testing.assert_allclose(data.targets, (cases.targets - middle) / spread, rtol=1e-6)
    answers = CLASSIFY.predict(facts, jnp.asarray(data.targets)[:, None], None)
    np.testing.assert_allclose(answers[:, 0], cases.targets, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_errors_are_in_the_label_s_units(rng):
    middle, spread = 40.0, 3.0
    facts = {"classes": [], "target": [middle, spread]}
    outputs, targets, valid = rng.normal(size=(6, 1)), rng.normal(size=6), np.arange(6) < 5
    batch = gj.Batch(np.zeros((6, 2, 1)), np.full(6, 2), targets, valid)
    actual = CLASSIFY.metrics(facts, outputs, batch)
    errors = (outputs[:5, 0] * spread + middle) - (targets[:5] * spread + middle)
    expected = {
        "loss": (errors**2).mean() / spread**2,
        "mse": (errors**2).mean(),
        "mae": abs(errors).mean(),
    }
    assert {name: mean(pair) for name, pair in actual.items()} == pytest.approx(expected, 1e-12)
    assert mean(CLASSIFY.loss(CONFIG, facts, outputs, batch)) == pytest.approx(expected["loss"])
    assert CLASSIFY.derive({"test_mse": 9.0}) == {"test_rmse": 3.0}
    test = Cases([], np.array([38.0, 43.0]), ("w",), ())
    assert CLASSIFY.baselines(CONFIG, facts, test) == {
        "training_mean": {
            "loss": pytest.approx(6.5 / 9),
            "mse": 6.5,
            "mae": 2.5,
            "rmse": pytest.approx(6.5**0.5),
        }
    }


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("weighting", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_are_inverse_to_the_training_counts(rng, weighting, smoothing):
    logits, targets = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    valid = np.arange(8) < 7
    batch = gj.Batch(np.zeros((8, 2, 1)), np.full(8, 2), targets, valid)
    config = ClassifyConfig(class_weights=weighting, label_smoothing=smoothing)
    total = weight = 0.0
    for row, target in zip(logits[:7], targets, strict=False):
        p = np.exp(row) / np.exp(row).sum()
        label = (1 - smoothing) * np.eye(3)[target] + smoothing / 3
        w = 10 / (3 * FACTS["counts"][target]) if weighting == "balanced" else 1
        total, weight = total - w * (label * np.log(p)).sum(), weight + w
    actual = mean(CLASSIFY.loss(config, FACTS, logits, batch))
    np.testing.assert_allclose(actual, total / weight, rtol=1e-12)
    plain = CLASSIFY.metrics(FACTS, logits, batch)["loss"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(7), targets[:7]]).mean()
    np.testing.assert_allclose(mean(plain), expected, rtol=1e-12)


def test_the_confusion_matrix_gives_recall_and_f1_of_the_classes_that_occur():
    counts = [[8, 2, 0, 0], [1, 0, 1, 0], [0, 0, 3, 0], [0, 0, 0, 0]]
    recalls = [8 / 10, 0 / 2, 3 / 3]
    f1 = [2 * 8 / (10 + 9), 0.0, 2 * 3 / (3 + 4)]
    assert CLASSIFY.derive({"confusion_matrix": counts}) == {
        "test_balanced_accuracy": pytest.approx(sum(recalls) / 3, rel=1e-12),
        "test_macro_f1": pytest.approx(sum(f1) / 3, rel=1e-12),
    }


def test_the_baseline_is_the_training_part_s_most_frequent_class():
    test = Cases([], np.array([0, 0, 0, 1, 1, 2]), ("w",), ("a", "b", "c"))
    row = {"accuracy": 0.5}
    assert CLASSIFY.baselines(CONFIG, FACTS, test) == {"most_frequent_class": row}


def test_a_split_leaves_out_a_share_of_each_class_but_never_all(tmp_path, rng):
    sizes = {"a": 20, "b": 10, "c": 3, "d": 2}
    labels = [name for name, size in sizes.items() for _ in range(size)]
    xs, _ = waves.draw(rng, 35, time=2)
    path = waves.write(tmp_path, "csv", xs, labels)
    parts = CLASSIFY.load(ClassifyConfig(data=str(path), validation=0.25))
    counts = [np.bincount(part.targets, minlength=4).tolist() for part in parts]
    assert counts == [[12, 6, 1, 1], [4, 2, 1, 0], [4, 2, 1, 1]]
    every = sorted(x.tobytes() for part in parts for x in part.xs)
    assert every == sorted(x.tobytes() for x in xs)
    other = CLASSIFY.load(ClassifyConfig(data=str(path), validation=0.25, seed=1))
    assert [x.tobytes() for x in other.test.xs] != [x.tobytes() for x in parts.test.xs]
    kinds = dict(zip((x.tobytes() for x in xs), labels, strict=True))
    for part in parts:
        names = [part.classes[i] for i in part.targets]
        assert [kinds[x.tobytes()] for x in part.xs] == names


def test_an_epoch_passes_over_few_sequences_several_times_each_in_another_order(rng):
    data = gj.Dataset([rng.normal(size=(3, 1)) for _ in range(60)], np.arange(60))
    config = ClassifyConfig(batch=25)
    for epoch in (0, 1):
        stacks = list(CLASSIFY.batches(config, data, epoch))
        assert sum(len(stack.xs) for stack in stacks) == CLASSIFY.steps(config, data) == 9
        orders = [tuple(stack.targets[stack.valid]) for stack in stacks]
        assert all(sorted(order) == list(range(60)) for order in orders)
        assert len(set(orders)) == 3
    again = [tuple(stack.targets[stack.valid]) for stack in CLASSIFY.batches(config, data, 0)]
    assert not set(again) & set(orders)
    (whole,) = CLASSIFY.batches(config, data, None)
    assert whole.targets[0].tolist() == list(range(60))
    large = data._replace(xs=data.xs * 3, targets=np.arange(180))
    assert CLASSIFY.steps(config, large) == 8


def test_another_file_to_test_on_leaves_all_cases_for_training(tmp_path, rng):
    xs, labels = waves.draw(rng, 20)
    path = waves.write(tmp_path, "csv", xs, labels)
    few, some = waves.draw(rng, 5)
    other = waves.write(tmp_path, "npz", few, some)
    parts = CLASSIFY.load(ClassifyConfig(data=str(path), test=str(other), validation=0.2))
    assert [len(part.xs) for part in parts] == [16, 4, 5]
    for x, y in zip(parts.test.xs, few, strict=True):
        np.testing.assert_array_equal(x, y)
    assert parts.test.targets.tolist() == [0, 1, 0, 1, 0]
