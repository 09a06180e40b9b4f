import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quadratic import LOOP, STEP, TX, batches, epoch_batches, init, run, start, validate
from refusals import refused

import gru_jax as gj


def test_every_epoch_is_reported_and_saved():
    rows, saved = [], []
    progress, ended = run(start(), report=rows.append, save=saved.append)
    assert ended == "epochs"
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert [row["step"] for row in rows] == list(range(6, 66, 6))
    assert rows[-1].keys() >= {"loss", "grad_norm", "draw", "validation_loss", "seconds"}
    assert len(saved) == 10
    chex.assert_trees_all_equal(saved[-1], progress)


def test_the_share_of_time_in_which_batches_are_made_is_reported():
    def slow(epoch):
        for batch in epoch_batches(epoch):
            time.sleep(0.05)
            yield batch

    quick, late = [], []
    for made, rows in ((epoch_batches, quick), (slow, late)):
        gj.fit(start(), LOOP, made, validate, epochs=3, report=rows.append)
    assert all(row["waiting"] * row["seconds"] < 0.05 for row in quick)
    assert all(0.1 <= row["waiting"] * row["seconds"] < row["seconds"] for row in late)


def test_the_best_parameters_are_those_of_the_lowest_validation_loss():
    weights, rows = [], []
    progress, _ = run(
        start(), report=rows.append, save=lambda p: weights.append(float(p.state.params["w"]))
    )
    best = int(np.argmin([row["validation_loss"] for row in rows]))
    assert 0 < best < 9
    assert (progress.best_epoch, float(progress.best_params["w"])) == (best + 1, weights[best])
    assert progress.best_value == rows[best]["validation_loss"]


def test_patience_ends_training_and_holds_on_resumption():
    progress, ended = run(start(), epochs=50, patience=2)
    assert ended == "patience"
    assert progress.epoch == progress.best_epoch + 2 < 50
    again, ended = run(progress, epochs=50, patience=2)
    assert (ended, again.epoch) == ("patience", progress.epoch)


@pytest.mark.parametrize("calls", [1, 4, 7])
def test_stopping_and_going_on_gives_the_same_bits(calls):
    whole, _ = run(start())
    left = iter([False] * calls + [True])
    progress, ended = run(start(), should_stop=lambda: next(left))
    assert ended == "stopped"
    assert progress.epoch == calls // 2
    resumed, ended = run(progress)
    assert ended == "epochs"
    chex.assert_trees_all_equal(resumed, whole)


def test_what_is_not_finite_ends_training_with_the_last_good_parameters():
    def poisoned(epoch):
        return [batches(3), batches(3, bad=[1] if epoch == 2 else [])]

    progress, ended = gj.fit(start(), LOOP, poisoned, validate, epochs=10)
    assert ended == "not finite"
    assert progress.state.step == 2 * 6 + 3 + 1
    assert np.isfinite(progress.state.params["w"])
    # Twelve steps of two healthy epochs, three of the third's first call, one before the bad one.
    want, _ = LOOP(init(TX), jax.tree.map(lambda a: jnp.concatenate([a] * 6)[:16], batches(3)))
    np.testing.assert_array_equal(progress.state.params["w"], want.params["w"])


def test_an_epoch_without_a_batch_is_an_error():
    with pytest.raises(ValueError, match=r"fit: epoch_batches\(0\) must yield a batch"):
        gj.fit(start(), LOOP, lambda _: [], validate, epochs=2)


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_validation_loss_that_is_not_finite_ends_training(loss):
    def worse(params):
        return {"loss": loss if params["w"] > 2 else 1.0}

    progress, ended = gj.fit(start(), LOOP, epoch_batches, worse, epochs=50)
    assert ended == "not finite"
    assert progress.best_params["w"] <= 2
    assert progress.best_value == 1


def nearness(params):
    """Is best, 1, where w is 2."""
    return {"accuracy": 1 - float(abs(params["w"] - 2)), "loss": float(abs(params["w"] - 2))}


def test_the_highest_value_is_the_best_with_mode_max():
    """The same epoch is the best by the highest accuracy and by the lowest loss, its complement."""
    best = {}
    for monitor, mode in (("accuracy", "max"), ("loss", "min")):
        progress, _ = gj.fit(
            start(), LOOP, epoch_batches, nearness, epochs=10, monitor=monitor, mode=mode
        )
        best[monitor] = progress
    assert 1 < best["accuracy"].best_epoch < 10
    assert best["accuracy"].best_epoch == best["loss"].best_epoch
    assert best["accuracy"].best_value == 1 - best["loss"].best_value
    chex.assert_trees_all_equal(best["accuracy"].best_params, best["loss"].best_params)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_equal_values_the_newest_is_the_best(mode):
    progress, _ = validated(lambda _: {"loss": 0.5}, mode=mode)
    assert progress.best_epoch == 2
    chex.assert_trees_all_equal(progress.best_params, progress.state.params)


def test_patience_and_resumption_hold_with_mode_max():
    options = {"monitor": "accuracy", "mode": "max", "patience": 2}
    ended, why = gj.fit(start(), LOOP, epoch_batches, nearness, epochs=50, **options)
    assert why == "patience"
    assert ended.epoch == ended.best_epoch + 2 < 50
    half, _ = gj.fit(start(), LOOP, epoch_batches, nearness, epochs=3, **options)
    resumed, _ = gj.fit(half, LOOP, epoch_batches, nearness, epochs=50, **options)
    chex.assert_trees_all_equal(resumed, ended)


@pytest.mark.parametrize("monitor", ["accuracy", "balanced_accuracy"])
def test_an_accuracy_must_say_its_mode(monitor):
    message = (
        f"fit: mode must be given for monitor '{monitor}': \"max\" keeps the highest, got None."
    )
    with refused(message):
        run(start(), monitor=monitor)


WRONG = {
    'mode must be "min" or "max", got \'highest\'.': lambda: run(start(), mode="highest"),
    "patience must be 1 or more, or None, got 0.": lambda: run(start(), patience=0),
    "epoch_batches must be a function, got list of float32[3, 4], float32[3, 4].": (
        lambda: gj.fit(start(), LOOP, [batches(3)], validate, epochs=2)
    ),
    "validate must be a function, got dict of float.": (
        lambda: gj.fit(start(), LOOP, epoch_batches, {"loss": 0.1}, epochs=2)
    ),
    "epoch_batches(0) must yield stacks of batches, e.g. [batches], got dict of float32[3, 4], "
    "float32[3, 4].": lambda: fed(batches(3)),
    "epoch_batches(0) must yield stacks of batches, e.g. [batches], got float32[3, 4, 2].": (
        lambda: fed(jnp.ones((3, 4, 2)))
    ),
    "epoch_batches(0) must yield stacks of batches, e.g. [batches], got Batch of "
    "float32[3, 4, 2], int32[3, 4], int32[3, 4], ....": lambda: fed(STACK),
    "epoch_batches(0) must yield stacks of batches, e.g. [batches], got None.": lambda: fed(None),
    "progress must be a Progress, from init_progress(state), got TrainState.": (
        lambda: run(init(TX))
    ),
    'validate must return a dict of numbers, e.g. {"loss": 0.5}, got float.': (
        lambda: validated(lambda params: float(params["w"]))
    ),
    'validate must return a dict of numbers, e.g. {"loss": 0.5}, got None.': (
        lambda: validated(lambda _: None)
    ),
    "validate must return a dict of numbers, got loss float32[2].": (
        lambda: validated(lambda _: {"loss": jnp.ones(2)})
    ),
    "validate must return a dict of numbers, got name str.": (
        lambda: validated(lambda _: {"loss": 1, "name": "a"})
    ),
    "monitor must be a number that validate returns, 'loss', 'error', got 'f1'.": (
        lambda: validated(lambda _: {"loss": 1, "error": 2}, monitor="f1")
    ),
    "monitor must be a number that validate returns, nothing, got 'loss'.": (
        lambda: validated(lambda _: {})
    ),
    "train_loop must be from make_train_loop, whose metrics have an axis of steps, got finite "
    "bool[].": lambda: gj.fit(start(), STEP, epoch_batches, validate, epochs=2),
    "train_loop must be from make_train_loop, whose metrics have an axis of steps, got finite "
    "None.": lambda: gj.fit(
        start(), lambda state, _: (state, {}), epoch_batches, validate, epochs=2
    ),
}


XS, NUMBERS = np.ones((3, 4, 2), np.float32), np.ones((3, 4), np.int32)
STACK = gj.Batch(XS, NUMBERS, NUMBERS, NUMBERS > 0)


def fed(stacks):
    return gj.fit(start(), LOOP, lambda _: stacks, validate, epochs=2)


def validated(validate, **options):
    return gj.fit(start(), LOOP, epoch_batches, validate, epochs=2, **options)


@pytest.mark.untyped
@pytest.mark.parametrize("message", WRONG)
def test_arguments_of_another_kind_are_refused(message):
    with refused(f"fit: {message}"):
        WRONG[message]()


@pytest.mark.untyped
def test_init_progress_needs_a_train_state():
    message = "init_progress: state must be a TrainState, from init_train_state, got dict."
    with refused(message):
        gj.init_progress({"w": jnp.float32(1)})


def test_numbers_of_jax_and_numpy_are_reported_as_floats():
    rows = []
    progress, _ = validated(
        lambda params: {"loss": params["w"], "cases": np.int64(3), "all": True}, report=rows.append
    )
    assert all(type(value) in (int, float) for value in rows[0].values())
    assert isinstance(progress.best_value, float)
    assert (rows[0]["validation_cases"], rows[0]["validation_all"]) == (3, 1)


def test_progress_that_a_loop_has_taken_is_refused_by_name():
    progress = start()
    LOOP(progress.state, batches(3))
    message = (
        "fit: progress must not be one that a training loop has taken, as it donates it: use the "
        "one that it returned, got state.params.w deleted."
    )
    with refused(message):
        run(progress)


def test_a_run_is_the_same_where_promotion_is_strict():
    whole, _ = run(start(), epochs=3)
    with jax.numpy_dtype_promotion("strict"):
        strict, _ = run(start(), epochs=3)
    chex.assert_trees_all_equal(strict, whole)


def test_fit_leaves_the_progress_that_it_takes_alone():
    progress = start()
    first, _ = run(progress, epochs=2)
    second, _ = run(progress, epochs=2)
    chex.assert_trees_all_equal(first, second)
