import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy.special import log_softmax

import gru_jax as gj


def test_cross_entropy_is_minus_the_log_of_the_labels_share(rng):
    logits, labels = rng.normal(size=(4, 3, 5)).astype(np.float32), rng.integers(0, 5, (4, 3))
    want = -np.take_along_axis(log_softmax(logits.astype(float), -1), labels[..., None], -1)
    np.testing.assert_allclose(gj.cross_entropy(logits, labels), want[..., 0], rtol=1e-5)


def test_label_smoothing_mixes_in_an_even_target(rng):
    logits, labels = rng.normal(size=(6, 5)).astype(np.float32), rng.integers(0, 5, 6)
    target = 0.9 * np.eye(5)[labels] + 0.1 / 5
    want = -(target * log_softmax(logits.astype(float), -1)).sum(-1)
    got = gj.cross_entropy(logits, labels, label_smoothing=0.1)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_squared_error_is_not_reduced(rng):
    a, b = rng.normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(gj.squared_error(a, b), (a - b) ** 2, rtol=1e-6)


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_masked_mean_and_its_gradient_see_valid_values_alone(rng, garbage):
    values, mask = rng.normal(size=(4, 5)).astype(np.float32), rng.random((4, 5)) < 0.5
    dirty = jnp.where(mask, values, garbage)
    mean, grad = jax.value_and_grad(gj.masked_mean)(dirty, jnp.asarray(mask))
    np.testing.assert_allclose(mean, values[mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(grad, mask / mask.sum(), rtol=1e-6)


def test_masked_mean_of_nothing_is_zero_and_of_all_the_mean(rng):
    values = jnp.asarray(rng.normal(size=7), jnp.float32)
    assert gj.masked_mean(values, jnp.zeros(7, bool)) == 0
    np.testing.assert_allclose(gj.masked_mean(values), np.asarray(values).mean(), rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 5, -100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_label_that_is_no_class_gives_nan_unless_it_is_masked(rng, label, label_smoothing):
    """A wrapped index would score the last class."""
    logits = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
    labels, mask = jnp.array([2, label, 4]), jnp.array([True, False, True])

    def loss(logits, labels, mask):
        losses = gj.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        return gj.masked_mean(losses, mask)

    assert jnp.isnan(loss(logits, labels, ~mask))
    value, grads = jax.value_and_grad(loss)(logits, labels, mask)
    rows = jnp.array([0, 2])
    want, want_grads = jax.value_and_grad(loss)(logits[rows], labels[rows], mask[rows])
    np.testing.assert_allclose(value, want, rtol=1e-6)
    np.testing.assert_allclose(grads[rows], want_grads, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(grads[1], 0)


def test_accuracy_is_one_where_the_largest_logit_is_the_labels():
    logits = jnp.array([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(gj.accuracy(logits, np.array([1, 2, 2])), [1, 0, 1])


def test_confusion_matrix_counts_labels_in_rows(rng):
    labels, predictions = rng.integers(0, 4, (2, 50))
    want = np.zeros((4, 4), int)
    for label, prediction in zip(labels, predictions, strict=True):
        want[label, prediction] += 1
    np.testing.assert_array_equal(gj.confusion_matrix(labels, predictions, 4), want)


def test_half_precision_means_are_taken_in_wider_numbers():
    values = jnp.full(1001, 70, jnp.float16)
    mean = gj.masked_mean(values, jnp.ones(1001, bool))
    assert (mean, mean.dtype) == (70, jnp.float16)
    right = gj.accuracy(jnp.eye(1000, dtype=jnp.bfloat16), np.arange(1000) // 2 * 2)
    assert gj.masked_mean(right, jnp.ones(1000, bool)) == 0.5
    assert right.dtype == jnp.float32


DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytest.fixture
def strict():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("dtype", DTYPES)
def test_means_keep_their_dtype_where_promotion_is_strict(dtype, rng):
    values, mask = jnp.asarray(rng.normal(size=9), dtype), jnp.arange(9) % 2 == 0
    mean, grad = jax.value_and_grad(gj.masked_mean)(values, mask)
    assert mean.dtype == grad.dtype == dtype
    tolerance = {"rtol": float(jnp.finfo(dtype).eps) * 2}
    np.testing.assert_allclose(np.float64(mean), np.float64(values)[::2].mean(), **tolerance)
    np.testing.assert_allclose(np.float64(grad), np.asarray(mask) / 5, **tolerance)


@pytest.mark.usefixtures("strict")
def test_means_of_integers_and_truth_values_are_float32_where_promotion_is_strict():
    for values in (jnp.arange(5), jnp.arange(5, dtype=jnp.uint8), jnp.arange(5) > 1):
        mean = gj.masked_mean(values)
        assert mean.dtype == jnp.float32
        np.testing.assert_allclose(mean, np.asarray(values).mean(), rtol=1e-6)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label_dtype", [np.uint8, np.int32, np.int64])
def test_losses_and_metrics_take_any_dtypes_where_promotion_is_strict(dtype, label_dtype, rng):
    logits, labels = (
        jnp.asarray(rng.normal(size=(6, 3)), dtype),
        np.arange(6, dtype=label_dtype) % 3,
    )
    log_p, eps = log_softmax(np.float64(logits), -1), float(jnp.finfo(dtype).eps)
    target = 0.9 * np.eye(3)[labels] + 0.1 / 3
    losses = gj.cross_entropy(logits, labels, label_smoothing=0.1)
    assert losses.dtype == dtype
    np.testing.assert_allclose(np.float64(losses), -(target * log_p).sum(-1), rtol=20 * eps)
    errors = gj.squared_error(logits, logits[::-1])
    assert errors.dtype == dtype
    right = gj.accuracy(logits, labels)
    np.testing.assert_array_equal(right, np.argmax(np.float64(logits), -1) == labels)
    counts = gj.confusion_matrix(labels, jnp.argmax(logits, -1), 3)
    assert np.trace(counts) == int(right.sum())


@pytest.mark.untyped
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_weights_are_no_mask(dtype):
    message = f"masked_mean: mask must be bool, True where a value counts, got {dtype}."
    with refused(message):
        gj.masked_mean(jnp.array([1.0, 5.0]), jnp.array([1, 0], dtype))


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("predictions", "got"),
    [
        (np.zeros((3, 2), np.float32), "float32[3, 2]"),
        (np.zeros(3, np.float32), "float32[3]"),
        (np.zeros(1, np.int32), "int32[1]"),
    ],
)
def test_a_confusion_matrix_takes_one_prediction_for_each_label(predictions, got):
    message = (
        "confusion_matrix: labels and predictions must be [cases] integers, got int32[3] and "
        f"{got}."
    )
    with refused(message):
        gj.confusion_matrix(np.zeros(3, np.int32), predictions, 2)


@pytest.mark.untyped
def test_masks_and_labels_may_be_lists():
    assert gj.masked_mean(jnp.array([1.0, 5.0]), [True, False]) == 1
    np.testing.assert_array_equal(gj.accuracy(np.eye(2), [0, 0]), [1, 0])
