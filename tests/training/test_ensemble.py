"""An ensemble's members are the runs that they would be alone; statistics are NumPy's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quadratic import LOOP, STEP, TX, epoch_batches, init, validate
from refusals import refused

import gru_jax as gj

WEIGHTS, SCALES = np.float32([1.0, 1.5, 1.9]), np.float32([1.0, 0.7, 1.3])
"""All train past the best weight, 2: the first late, the last in its first epoch."""


@pytest.fixture(scope="module")
def loop():
    return gj.make_train_loop(STEP, ensemble=True)


def begin(weights=WEIGHTS):
    def one(weight, key):
        return gj.init_train_state(key, {"w": weight}, TX)

    keys = jax.random.split(jax.random.key(1), len(weights))
    return gj.init_progress(jax.vmap(one)(jnp.asarray(weights), keys))


def batches_of(member, epoch):
    return [jax.tree.map(lambda a: a * SCALES[member], each) for each in epoch_batches(epoch)]


def batches_of_all(epoch):
    stacks = zip(*(batches_of(i, epoch) for i in range(3)), strict=True)
    return [jax.tree.map(lambda *a: np.stack(a), *each) for each in stacks]


def validate_all(params):
    return {"loss": (np.asarray(params["w"]) - 2) ** 2, "distance": abs(params["w"] - 2)}


def alone(member, **options):
    """Returns the progress of a member's own training, why it ended, and its rows."""
    key = jax.random.split(jax.random.key(1), 3)[member]
    state = gj.init_train_state(key, {"w": jnp.asarray(WEIGHTS[member])}, TX)
    rows = []

    def check(params):
        return validate(params) | {"distance": abs(float(params["w"]) - 2)}

    result = gj.fit(
        gj.init_progress(state),
        LOOP,
        lambda epoch: batches_of(member, epoch),
        check,
        report=rows.append,
        **options,
    )
    return *result, rows


def test_members_are_the_runs_that_they_would_be_alone(loop):
    rows = []
    progress, ended = gj.fit(
        begin(), loop, batches_of_all, validate_all, epochs=8, report=rows.append
    )
    runs = [alone(i, epochs=8) for i in range(3)]
    assert ended == "epochs"
    assert len({int(run[0].best_epoch) for run in runs}) == 3  # Each has a best of its own.
    for i, (expected, _, _) in enumerate(runs):
        got = jax.tree.map(lambda a, i=i: a[i], progress._replace(epoch=np.full(3, 8)))
        without_keys = (p._replace(state=p.state._replace(key=())) for p in (got, expected))
        chex.assert_trees_all_close(*without_keys, rtol=1e-5)
    for epoch, row in enumerate(rows):
        for name in ("loss", "grad_norm", "draw", "validation_loss", "validation_distance"):
            values = [run[2][epoch][name] for run in runs]
            assert row[name] == pytest.approx(np.mean(values), rel=1e-5)
            assert row[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        assert (row["epoch"], row["step"]) == (epoch + 1, 6 * (epoch + 1))
        assert all(type(value) in (int, float) for value in row.values())


def test_a_member_out_of_patience_is_final_and_training_goes_on_for_the_others(loop):
    progress, ended = gj.fit(begin(), loop, batches_of_all, validate_all, epochs=100, patience=2)
    runs = [alone(i, epochs=100, patience=2) for i in range(3)]
    assert ended == "patience"
    assert progress.epoch == max(run[0].epoch for run in runs)
    assert min(run[0].epoch for run in runs) < progress.epoch
    np.testing.assert_array_equal(progress.best_epoch, [run[0].best_epoch for run in runs])
    best = [run[0].best_params["w"] for run in runs]
    np.testing.assert_allclose(progress.best_params["w"], best, rtol=1e-6)


def test_an_ensemble_resumes_from_a_checkpoint_to_the_same_bits(loop, tmp_path):
    whole, _ = gj.fit(begin(), loop, batches_of_all, validate_all, epochs=6)
    half, _ = gj.fit(begin(), loop, batches_of_all, validate_all, epochs=3)
    gj.save_checkpoint(tmp_path / "checkpoints", half)
    half = gj.load_checkpoint(tmp_path / "checkpoints", begin())
    resumed, _ = gj.fit(half, loop, batches_of_all, validate_all, epochs=6)
    chex.assert_trees_all_equal(resumed, whole)


def test_a_member_that_is_not_finite_stops_and_the_others_finish_the_loop(loop):
    stack = batches_of_all(0)[0]
    clean, _ = loop(begin().state, stack)
    stack["x"][1, 1] = np.nan
    state, metrics = loop(begin().state, stack)
    np.testing.assert_array_equal(metrics["finite"], [[True] * 3, [True, False, False], [True] * 3])
    np.testing.assert_array_equal(state.step, [3, 1, 3])
    for member in (0, 2):
        assert state.params["w"][member] == clean.params["w"][member]
    progress, ended = gj.fit(begin(), loop, lambda _: [stack], validate_all, epochs=5)
    assert ended == "not finite"
    np.testing.assert_array_equal(progress.state.step, [3, 1, 3])


def test_an_ensemble_is_one_program_compiled_once(loop):
    del loop
    chex.clear_trace_counter()
    once = gj.make_train_loop(chex.assert_max_traces(STEP, n=2), ensemble=True)
    gj.fit(begin(), once, batches_of_all, validate_all, epochs=3)


def test_members_that_do_not_fit_are_refused(loop):
    needed = (
        "train_loop: state and batches of an ensemble must have one axis of members in front of "
        "all arrays, got"
    )
    with refused(f"{needed} (3,) in the state and (2,) in the batches."):
        loop(begin().state, jax.tree.map(lambda a: a[:2], batches_of_all(0)[0]))
    with refused(f"{needed} () in the state and (3,) in the batches."):
        loop(init(TX), batches_of_all(0)[0])
    with refused(
        "fit: train_loop must be from make_train_loop(..., ensemble=True), whose metrics have an "
        "axis of steps behind that of members, got finite bool[3]."
    ):
        metrics = {"loss": np.zeros(3), "finite": np.ones(3, bool)}
        gj.fit(begin(), lambda s, _: (s, metrics), batches_of_all, validate_all, epochs=1)
    with refused(
        "fit: validate must return a dict of arrays [3], a number for each member, got loss float."
    ):
        gj.fit(begin(), loop, batches_of_all, lambda _: {"loss": 1.0}, epochs=1)
