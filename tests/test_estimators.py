"""Estimators: scikit-learn's own checks, and numbers against the command and the net."""

import pickle

import numpy as np
import pytest
from refusals import refused
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gru_jax.estimators import GRUClassifier, GRURegressor

QUICK = {"hidden": 8, "layers": 1, "noise": 0.0, "dropout": 0.0, "learning_rate": 0.02}


def draw(cases=60, channels=2, seed=0, lengths=(8, 20)):
    """Returns waves of two frequencies, of unequal lengths, and which is which."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(cases) % 2
    xs = []
    for kind in kinds:
        steps = np.arange(rng.integers(*lengths))[:, None]
        phase = rng.uniform(0, 2 * np.pi, channels)
        wave = np.sin((0.4 + 0.8 * kind) * steps + phase)
        xs.append((wave + 0.1 * rng.normal(size=wave.shape)).astype(np.float32))
    return xs, np.array(["slow", "fast"])[kinds]


@pytest.fixture(scope="module")
def fitted():
    xs, y = draw()
    return GRUClassifier(epochs=30, **QUICK).fit(xs, y)


def test_sequences_of_unequal_lengths_are_told_apart(fitted):
    xs, y = draw(seed=1)
    assert fitted.score(xs, y) > 0.9
    assert list(fitted.classes_) == ["fast", "slow"]
    shares = fitted.predict_proba(xs)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(fitted.predict(xs), fitted.classes_[shares.argmax(1)])
    assert fitted.n_features_in_ == 2


def test_probabilities_are_those_of_the_net_on_standardised_steps(fitted):
    """The oracle is the net by itself, and a softmax in NumPy."""
    train, y = draw()
    xs, _ = draw(seed=1)
    facts = fitted.facts_
    logits = [
        np.asarray(
            fitted.net_.apply(
                fitted.params_, np.float32((x - facts["mean"]) / np.float32(facts["std"]))
            )[0],
            float,
        )
        for x in xs
    ]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(xs), shares, atol=1e-4)
    assert np.abs(np.concatenate(train).mean(0) - facts["mean"]).max() < 0.1
    assert len(fitted.history_) <= 30
    best = max(row["validation_accuracy"] for row in fitted.history_)
    assert best > 0.9
    assert set(y) == set(fitted.classes_)


def test_pickling_and_cloning_keep_what_they_should(fitted):
    xs, _ = draw(seed=1)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(xs), fitted.predict_proba(xs))
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert not hasattr(fresh, "params_")


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    xs, y = draw(cases=20)
    one, two, other = (
        GRUClassifier(epochs=2, random_state=seed, **QUICK).fit(xs, y).predict_proba(xs)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_balanced_classes_count_the_same_where_nothing_tells_them_apart():
    """Else the share of a class is that of its cases: here, a quarter."""
    xs, y = [np.zeros((3, 1), np.float32)] * 40, np.repeat(["fast", "slow"], [10, 30])
    model = GRUClassifier(epochs=30, label_smoothing=0.0, **QUICK)
    share = model.fit(xs, y).predict_proba(xs)[0, 0]
    balanced = model.set_params(class_weights="balanced").fit(xs, y).predict_proba(xs)[0, 0]
    assert share == pytest.approx(0.25, abs=0.05)
    assert balanced == pytest.approx(0.5, abs=0.05)


def test_arrays_lists_and_missing_values_are_read_alike():
    xs, y = draw(cases=20, lengths=(10, 11))
    xs[3][4, 1] = np.nan
    model = GRUClassifier(epochs=2, **QUICK)
    shares = [model.fit(kind, y).predict_proba(kind) for kind in (xs, np.stack(xs))]
    np.testing.assert_array_equal(*shares)
    assert model.facts_["masked"] == ["channel 2"]
    flat = np.stack(xs)[..., 0]
    shares = [model.fit(kind, y).predict_proba(kind) for kind in (flat, flat[..., None])]
    np.testing.assert_array_equal(*shares)
    assert model.n_features_in_ == 1


def test_a_number_for_each_sequence_is_learned():
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(n, 1)).astype(np.float32) for n in rng.integers(3, 9, 120)]
    y = 100 + 10 * np.array([x.mean() for x in xs])
    model = GRURegressor(epochs=60, **QUICK).fit(xs[:90], y[:90])
    assert model.score(xs[90:], y[90:]) > 0.8
    errors = model.predict(xs[90:]) - y[90:]
    assert np.abs(errors).mean() < 0.5 * np.abs(y[90:] - y[:90].mean()).mean()


def test_pipelines_and_cross_validation_take_it():
    xs, y = draw(cases=30, channels=1, lengths=(12, 13))
    table = np.stack(xs)[..., 0]
    model = GRUClassifier(epochs=15, **QUICK)
    assert cross_val_score(make_pipeline(StandardScaler(), model), table, y, cv=3).mean() > 0.7
    double = FunctionTransformer(lambda xs: 2 * xs)
    assert make_pipeline(double, model).fit(table[..., None], y).score(table[..., None], y) > 0.7


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda x: x[:, :1], "sequences [time, channels] with the same channels, one step or more"),
        (lambda x: x[:0], "sequences [time, channels] with the same channels, one step or more"),
        (lambda x: x * np.inf, "numbers from -1e18 to 1e18, or NaN for missing ones, got"),
    ],
)
def test_wrong_sequences_are_one_clear_line(last, message):
    xs, y = draw(cases=6)
    with pytest.raises(ValueError, match=r"^GRUClassifier: X must (be|hold) ") as caught:
        GRUClassifier(**QUICK).fit([*xs[:-1], last(xs[-1])], y)
    assert message in str(caught.value)


def test_other_channels_and_one_class_are_refused(fitted):
    xs, y = draw(cases=6, channels=3)
    with refused("GRUClassifier: X must have 2 channels, as in training, got 3."):
        fitted.predict(xs)
    with refused("GRUClassifier: y must have two classes or more, got one class: slow."):
        GRUClassifier(**QUICK).fit(xs, np.repeat(y[:1], 6))
    with refused("train: hidden must be a whole number from 1 to below 100000, got 0."):
        GRUClassifier(**QUICK | {"hidden": 0}).fit(xs, y)


ROUNDING = "the last bit of a row in float32 depends on its place in the batch; allowed are 1e-7"
EXEMPT = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"), ROUNDING
)


def test_an_answer_depends_on_its_own_sequence_alone(fitted):
    xs, _ = draw(cases=20, seed=4)
    order = np.random.default_rng(5).permutation(20)
    answers = fitted.predict_proba(xs)
    shuffled = fitted.predict_proba([xs[i] for i in order])
    np.testing.assert_allclose(shuffled, answers[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(xs[3:4]), answers[3:4], rtol=1e-5, atol=1e-6)


@pytest.mark.slow("runs all checks of scikit-learn")
@pytest.mark.filterwarnings("ignore")  # of scikit-learn's own checks
@pytest.mark.parametrize("kind", [GRUClassifier, GRURegressor])
def test_scikit_learn_s_own_checks_pass(kind):
    model = kind(epochs=40, patience=40, **QUICK | {"learning_rate": 0.01})
    check_estimator(model, expected_failed_checks=EXEMPT)
