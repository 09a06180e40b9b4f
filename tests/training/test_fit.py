import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_step import batches, init, quadratic

import gru_jax as gj
from gru_jax.training.checkpoint import load_best, load_checkpoint, save_checkpoint

TX = optax.adam(0.05)
LOOP = gj.make_train_loop(gj.make_train_step(quadratic, TX))


def start(w=1.0):
    return gj.init_progress(init(TX, w))


def epoch_batches(epoch):
    return [jax.tree.map(lambda a: a * (1 + epoch / 100), batches(3))] * 2


def validate(params):
    """Best, 0, where w is 2: on the way from 1 to 3, so that training passes it."""
    return {"loss": float((params["w"] - 2) ** 2)}


def run(progress, epochs=10, **options):
    return gj.fit(progress, LOOP, epoch_batches, validate, epochs=epochs, **options)


def test_every_epoch_is_reported_and_saved():
    rows, saved = [], []
    progress, ended = run(start(), report=rows.append, save=saved.append)
    assert ended == "epochs"
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert [row["step"] for row in rows] == list(range(6, 66, 6))
    assert rows[-1].keys() >= {"loss", "grad_norm", "draw", "validation_loss", "seconds"}
    assert len(saved) == 10
    chex.assert_trees_all_equal(saved[-1], progress)


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


def test_a_checkpoint_gives_back_the_same_bits(tmp_path):
    whole, _ = run(start())
    half, _ = run(start(), epochs=5)
    save_checkpoint(tmp_path / "checkpoints", half)
    loaded = load_checkpoint(tmp_path / "checkpoints", start(0.0))
    chex.assert_trees_all_equal(loaded, jax.tree.map(jnp.asarray, half))
    resumed, _ = run(loaded)
    chex.assert_trees_all_equal(resumed, jax.tree.map(jnp.asarray, whole))
    best = load_best(tmp_path / "checkpoints", {"w": jnp.float32(0)})
    np.testing.assert_array_equal(best["w"], half.best_params["w"])


def test_only_the_newest_checkpoint_stays(tmp_path):
    for epochs in (1, 2, 3):
        progress, _ = run(start(), epochs=epochs)
        save_checkpoint(tmp_path, progress)
        save_checkpoint(tmp_path, progress)
    assert [path.name for path in tmp_path.iterdir()] == ["18"]


def test_a_checkpoint_that_is_not_there_or_does_not_fit_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load_checkpoint: no folder .*train first"):
        load_checkpoint(tmp_path / "none", start())
    with pytest.raises(FileNotFoundError, match="load_checkpoint: no checkpoint in"):
        load_checkpoint(tmp_path, start())
    save_checkpoint(tmp_path, start())
    with pytest.raises(ValueError, match=r"load_checkpoint: .*best must be whole and of the shape"):
        load_best(tmp_path, {"w": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"w must be \(\) float16, got \(\) float32"):
        load_best(tmp_path, {"w": jnp.float16(0)})
    with pytest.raises(ValueError, match="load_checkpoint"):
        load_best(tmp_path, {"v": jnp.float32(0)})


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path, capfd):
    save_checkpoint(tmp_path, start())
    for path in tmp_path.glob("*/best/d/*"):
        path.write_bytes(path.read_bytes()[:20])
    for path in tmp_path.glob("*/best/ocdbt*/d/*"):
        path.write_bytes(path.read_bytes()[:20])
    capfd.readouterr()
    with pytest.raises(ValueError, match=r"load_checkpoint: .* cannot be read"):
        load_best(tmp_path, {"w": jnp.float32(0)})
    assert capfd.readouterr().err == ""


def test_a_checkpoint_of_other_dtypes_is_refused_array_by_array(tmp_path):
    params = {"a": jnp.zeros(3, jnp.float32), "b": jnp.zeros(3, jnp.float16)}
    state = gj.init_train_state(jax.random.key(0), params, TX)
    save_checkpoint(tmp_path, gj.init_progress(state))
    swapped = {"a": params["b"], "b": params["a"]}
    with pytest.raises(ValueError, match=r"a must be \(3,\) float16, got \(3,\) float32"):
        load_best(tmp_path, swapped)


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
