import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj

NAN = np.nan
# The example of Che et al. (2018), figure 2: two features, seven steps.
VALUES = np.array([[47, 49, NAN, 40, NAN, 43, 55], [NAN, 15, 14, NAN, NAN, NAN, 15]], np.float32).T
TIMES = np.array([0, 0.1, 0.6, 1.6, 2.2, 2.5, 3.1], np.float32)
MASK = np.array([[1, 1, 0, 1, 0, 1, 1], [0, 1, 1, 0, 0, 0, 1]]).T
SINCE = np.array([[0, 0.1, 0.5, 1.5, 0.6, 0.9, 0.6], [0, 0.1, 0.5, 1.0, 1.6, 1.9, 2.5]]).T


@pytest.mark.parametrize("call", [gj.gru_d_inputs, jax.jit(gj.gru_d_inputs)])
def test_the_papers_example(call):
    values, mask, since = jnp.split(call(VALUES, TIMES), 3, -1)
    np.testing.assert_array_equal(values, np.nan_to_num(VALUES))
    np.testing.assert_array_equal(mask, MASK)
    np.testing.assert_allclose(since, SINCE, atol=1e-6)


def by_steps(values, times):
    """The paper's recurrence, feature by feature."""
    since = np.zeros(values.shape)
    for t in range(1, len(times)):
        carried = np.where(np.isnan(values[t - 1]), since[t - 1], 0)
        since[t] = times[t] - times[t - 1] + carried
    return since


@pytest.mark.usefixtures("x64")
def test_times_are_those_of_the_recurrence_for_any_batch(rng):
    values = rng.normal(size=(2, 3, 9, 4))
    values[rng.random(values.shape) < 0.7] = NAN
    times = rng.normal(size=(2, 3, 9))  # In no order.
    since = gj.gru_d_inputs(values, times)[..., 8:]
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(since[i], by_steps(values[i], times[i]), rtol=1e-12, atol=1e-13)


def test_the_dtype_is_that_of_the_values_and_times_may_be_whole_numbers():
    """In float16, 70,000 would be infinite; the differences are not."""
    inputs = gj.gru_d_inputs(VALUES.astype(np.float16), 70_000 + 2 * np.arange(7))
    assert inputs.dtype == jnp.float16
    np.testing.assert_array_equal(inputs[:, 4], [0, 2, 2, 4, 2, 4, 2])


def test_gradients_are_finite_and_sequences_may_be_empty():
    grads = jax.grad(lambda values: gj.gru_d_inputs(values, TIMES).sum())(VALUES)
    np.testing.assert_array_equal(grads, MASK)
    assert gj.gru_d_inputs(VALUES[:0], TIMES[:0]).shape == (0, 6)


CASES = {
    "gru_d_inputs: values must be [*batch, time, features] floating, got (7,) float32.": (
        lambda: gj.gru_d_inputs(VALUES[:, 0], TIMES)
    ),
    "gru_d_inputs: values must be [*batch, time, features] floating, got (7, 2) int32.": (
        lambda: gj.gru_d_inputs(MASK.astype(np.int32), TIMES)
    ),
    "gru_d_inputs: times must be (7,) numbers to match values (7, 2), got (6,) float32.": (
        lambda: gj.gru_d_inputs(VALUES, TIMES[1:])
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()


@pytest.mark.parametrize(
    ("start", "unit"), [(1_700_000_000.0, 1.0), (1_700_000_000_000_000_000, 1_000_000_000)]
)
def test_times_since_1970_keep_their_differences(start, unit):
    """float64 seconds and int64 nanoseconds, which JAX would round to 32 bits."""
    times = start + unit * np.array([0, 1, 5, 6])
    values = np.array([[1.0], [np.nan], [np.nan], [2.0]], np.float32)
    since = gj.gru_d_inputs(values, times)[:, 2] / unit
    np.testing.assert_allclose(since, [0, 1, 5, 6], rtol=1e-6)


@pytest.mark.untyped
def test_times_must_be_numbers():
    values = np.zeros((2, 1), np.float32)
    with refused(
        "gru_d_inputs: times must be (2,) numbers to match values (2, 1), got (2,) datetime64[s]."
    ):
        gj.gru_d_inputs(values, np.array(["2020-01-01", "2020-01-02"], "datetime64[s]"))
