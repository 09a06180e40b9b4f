"""Training that begins with other weights: which layers take them, and which cannot."""

import jax
import numpy as np
import pytest
from made_up_tasks import SUM, SumConfig
from refusals import refused

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import runs
from gru_jax.app.tasks.japanese_vowels import JAPANESE_VOWELS, VowelsConfig
from gru_jax.app.tasks.table import TASKS
from gru_jax.app.warm_start import take_over


def net(outputs, hidden=3):
    cell = gj.bidirectional(gj.gru(hidden, reset="after"))
    return gj.stack(gj.gaussian_noise(0.1), cell, cell, gj.pool("mean"), gj.dense(outputs))


def init(layer, seed):
    params = layer.init(jax.random.key(0), 2)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), params)


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_all_layers_but_another_head_take_the_weights(tmp_path):
    old, fresh = init(net(4), 1), init(net(2), 2)
    interop.save(tmp_path / "old.safetensors", net(4), old)
    params, said = take_over(tmp_path / "old.safetensors", net(2), fresh)
    assert_equal(params[:4], old[:4])
    assert_equal(params[4], fresh[4])
    assert said == f"2 of 3 layers of {tmp_path / 'old.safetensors'}; new: dense(2)"
    same, said = take_over(tmp_path / "old.safetensors", net(4), init(net(4), 3))
    assert_equal(same, old)
    assert said == f"3 of 3 layers of {tmp_path / 'old.safetensors'}"


def test_arrays_by_the_names_of_pytorch_fill_the_recurrent_layers(tmp_path):
    """Its r and z rows come in that order; z is the weight of the old state, so its sign turns."""
    rng = np.random.default_rng(0)
    arrays = {}
    for layer, inputs in enumerate((2, 6)):
        for way in ("", "_reverse"):
            for kind, shape in (("ih", (9, inputs)), ("hh", (9, 3))):
                name = f"{kind}_l{layer}{way}"
                arrays[f"weight_{name}"] = rng.normal(size=shape).astype(np.float32)
                arrays[f"bias_{name}"] = rng.normal(size=9).astype(np.float32)
    np.savez(tmp_path / "torch.npz", **arrays)
    params, said = take_over(tmp_path / "torch.npz", net(2), init(net(2), 2))
    assert said.startswith("2 of 3 layers of")
    for layer, place in enumerate((1, 2)):
        got = params[place].backward.W_z
        rows = [arrays[f"weight_{kind}_l{layer}_reverse"][3:6].T for kind in ("ih", "hh")]
        np.testing.assert_array_equal(got, -np.concatenate(rows))


def test_a_first_layer_that_differs_is_refused_by_name(tmp_path):
    interop.save(tmp_path / "old.safetensors", net(4), init(net(4), 1))
    other = gj.stack(gj.recurrent(gj.gru(5)), gj.dense(2))
    with refused(
        f"init_from: {tmp_path / 'old.safetensors'} must begin with recurrent(gru(5)), weights "
        "7 x 5, 5, got bidirectional(gru(3, reset='after')), weights 5 x 3, 3."
    ):
        take_over(tmp_path / "old.safetensors", other, other.init(jax.random.key(0), 2))


@pytest.mark.slow("trains a network")
def test_a_run_begins_with_another_run_s_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, SUM.name, SUM)
    config = SumConfig(epochs=2)
    first, _ = runs.begin(tmp_path / "a", SUM, config)
    first, _ = runs.train(first, lambda _: None, lambda: False)
    again = SumConfig(epochs=1, init_from=str(tmp_path / "a"))
    second, _ = runs.begin(tmp_path / "b", SUM, again)
    assert_equal(second.progress.state.params, first.progress.best_params)
    assert second.origin == f"3 of 3 layers of {tmp_path / 'a'}"
    second, _ = runs.train(second, lambda _: None, lambda: False)
    (tmp_path / "a" / "best.safetensors").unlink()
    resumed = runs.reopen(tmp_path / "b", SUM, again)  # which needs the first one no more
    assert_equal(resumed.progress.state.params, second.progress.state.params)


def test_weights_of_another_size_are_refused_before_a_folder_is_made(tmp_path):
    config = VowelsConfig(hidden=4, layers=1, init_from=str(tmp_path / "old.safetensors"))
    interop.save(tmp_path / "old.safetensors", net(4), init(net(4), 1))
    with pytest.raises(ValueError, match=r"^init_from: .* must begin with bidirectional"):
        runs.begin(tmp_path / "x", JAPANESE_VOWELS, config)
    assert not (tmp_path / "x").exists()
