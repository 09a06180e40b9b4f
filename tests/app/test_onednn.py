"""oneDNN beside gru_jax: the same numbers, by the benchmark's own agreement check."""

from functools import partial

import numpy as np
import pytest
from contenders import SIZE, check_numbers, ours
from onednn_driver import build, make_onednn

from gru_jax.app.bench import timing
from gru_jax.app.bench.calls import Unavailable
from gru_jax.app.bench.contenders import BOTH

pytestmark = pytest.mark.onednn


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Builds the driver into a folder of its own; returns `(problem) -> Calls`."""
    return partial(make_onednn, build(tmp_path_factory.mktemp("onednn")))


@pytest.mark.parametrize("reset", BOTH)
def test_it_computes_the_reference_s_states_and_our_gradients(make, reset):
    check_numbers(make, reset)


@pytest.mark.parametrize("reset", BOTH)
def test_every_training_step_computes_loss_and_gradients_anew(make, reset):
    """The primitives of oneDNN add gradients to what their arrays hold."""
    problem, _ = ours(reset)
    calls = make(problem)
    hs = calls.hs(calls.forward())
    (first, xs_grad), (again, xs_again) = (
        calls.gradients(loss) for loss in (calls.train(), calls.train())
    )
    assert calls.train() == pytest.approx(float((problem.weigh * hs).sum()), rel=1e-5)
    for a, b in zip([*again, xs_again], [*first, xs_grad], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_benchmark_s_clock_times_it(make):
    calls = make(ours("after")[0])
    functions = {"forward": calls.forward, "train": calls.train}
    (seconds,) = timing.interleave(functions, 1, lambda _: None)
    assert set(seconds) == set(functions)
    assert all(0 < value < 1 for value in seconds.values())


def test_its_refusal_is_reported(make):
    problem, _ = ours("after")
    with pytest.raises(Unavailable, match=r"^oneDNN: \w+"):
        make(problem._replace(size=SIZE._replace(time=-1)))
