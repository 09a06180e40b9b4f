"""Keras' files: every bit of honest ones, one sentence of others, and none that costs much."""

import json
import re
import zipfile

import h5py
import jax.numpy as jnp
import keras
import pytest
from interop_cases import check_damaged
from keras_cases import (
    INPUT,
    MODELS,
    assert_same_bits,
    built,
    draw_net,
    layers,
    sequential,
)

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.stack import disassemble

# Keras' own: NumPy 2 asks for a `copy` that its variables do not know.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("rank_promotion"),
]


@pytest.mark.slow("builds Keras models")
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_file_holds_every_bit(rng, tmp_path, ending):
    net, params = draw_net(rng, "stack")
    path = tmp_path / f"model{ending}"
    interop.to_keras(net, params).save(path)
    found, found_params = interop.read(path, format="keras")
    assert found.architecture == net.architecture
    assert_same_bits(found_params, params)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_gives_what_its_model_gives(rng, tmp_path, name):
    model, path = MODELS[name](rng), tmp_path / "model.keras"
    model.save(path)
    (net, params), (found, found_params) = interop.from_keras(model), interop.read(path)
    assert found.architecture == net.architecture
    assert_same_bits(found_params, params)


def test_a_cells_file_is_of_a_model_that_runs_it(rng, tmp_path):
    net, params = draw_net(rng, "cell")
    interop.write(tmp_path / "cell.keras", net, params)
    found, found_params = interop.read(tmp_path / "cell.keras")
    assert found.architecture == gj.recurrent(net).architecture
    assert_same_bits(found_params, params)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_damaged_file_is_one_sentence_with_its_name(rng, tmp_path, ending):
    path = tmp_path / f"model{ending}"
    built(rng, keras.Sequential([keras.Input((None, 1)), layers.GRU(1)])).save(path)
    results, refusals = check_damaged(rng, path, cuts=10, flips=30)
    for net, params in results:
        (level,) = disassemble("test", net, params)
        (run,) = level.runs
        assert (run.input_size, run.hidden_size, run.reset) == (1, 1, "after")
    assert refusals
    path.unlink()
    with pytest.raises(FileNotFoundError, match="read: no file"):
        interop.read(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(rng, tmp_path, ending):
    path = tmp_path / f"model{ending}"
    run = layers.Lambda(lambda xs: xs * 2)
    sequential(rng, run, layers.GRU(2)).save(path)
    with pytest.raises(ValueError, match=r"must be a whole model that Keras reads.*Lambda"):
        interop.read(path, format="keras")


def saved(layer, path, version=None, edit=None, shape=(None, None, INPUT)):
    """Saves a model of a layer, in a file that says something else of it or of who saved it."""
    keras.Sequential([keras.Input(batch_shape=shape), layer]).save(path)

    def edited(text):
        config = json.loads(text)
        if edit:
            edit(config["config"]["layers"][1]["config"])
        return json.dumps(config)

    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = edited(file.attrs["model_config"])
            file.attrs["keras_version"] = version or file.attrs["keras_version"]
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = edited(members["config.json"])
    if version:
        members["metadata.json"] = json.dumps({"keras_version": version})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def read_error(path):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        interop.read(path, format="keras")
    return str(error.value)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("what", ["activation", "recurrent_activation"])
def test_an_older_keras_hard_sigmoid_is_refused_for_its_slope(tmp_path, ending, what):
    path = tmp_path / f"model{ending}"
    saved(layers.GRU(2, **{what: "hard_sigmoid"}), path, version="2.2.4")
    assert read_error(path) == (
        f"read: {path} must be saved by Keras 3 for hard_sigmoid, got Keras 2.2.4, whose "
        "hard_sigmoid has another slope, 1/5 and not 1/6: multiply the kernels and biases of what "
        "goes into it by 1.2, and save it by Keras 3."
    )
    saved(layers.GRU(2), path, version="2.2.4")
    interop.read(path, format="keras")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("told", [True, False])
def test_weights_are_not_drawn_and_no_more_are_made_than_the_file_has(
    tmp_path, monkeypatch, ending, told
):
    """Of 8000 rows an orthogonal matrix takes minutes, also where the file tells no initializer."""
    path = tmp_path / f"model{ending}"

    def grow(layer):
        layer["units"] = 8000
        if not told:
            del layer["recurrent_initializer"]

    saved(layers.GRU(2), path)
    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", None)
    interop.read(path, format="keras")
    monkeypatch.undo()
    saved(layers.GRU(2), path, edit=grow)
    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", None)
    assert "its layers need more numbers than the file has bytes" in read_error(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_states_that_a_file_asks_for_are_not_made(tmp_path, ending):
    """Of sequences that go on in the next batch, a million millions."""
    path = tmp_path / f"model{ending}"
    shape = (10**12, None, INPUT)
    saved(layers.GRU(2), path, edit=lambda layer: layer.update(stateful=True), shape=shape)
    interop.read(path, format="keras")


def test_a_large_config_in_a_small_file_is_not_read(tmp_path):
    path = tmp_path / "model.keras"
    saved(layers.GRU(2), path, edit=lambda layer: layer.update(name=" " * (1 << 24)))
    assert "its config.json must be 16777216 bytes or less, got 1677" in read_error(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_large_array_in_a_small_file_is_not_read(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    saved(layers.GRU(2), path)
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_dataset("array", (1 << 29,), "f4", chunks=True)
    if ending == ".h5":
        with h5py.File(path, "a") as file:
            file.create_dataset("array", (1 << 29,), "f4", chunks=True)
    else:
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    assert "its arrays must be 1073741824 bytes or less, got 21474" in read_error(path)


def test_weights_alone_are_told_to_be_and_nothing_else_is(rng, tmp_path):
    path = tmp_path / "model.weights.h5"
    sequential(rng, layers.GRU(2)).save_weights(path)
    assert read_error(path) == (
        f"read: {path} must be a whole model that Keras reads, but: it holds weights alone: "
        "they are for model.load_weights; then give the model to from_keras."
    )
    path = tmp_path / "model.h5"
    path.write_bytes(b"nothing")
    assert "load_weights" not in read_error(path)


def test_an_ending_that_keras_does_not_know_is_told(rng, tmp_path):
    path = tmp_path / "model.k"
    path.write_bytes(b"nothing")
    told = (
        "must end in .keras or .h5 or .hdf5, by which Keras knows its files, got '.k': rename it."
    )
    assert read_error(path) == f"read: {path} {told}"
    with pytest.raises(ValueError, match=rf"^write: {re.escape(f'{path} {told}')}$"):
        interop.write(path, *draw_net(rng, "before"), format="keras")
    assert path.read_bytes() == b"nothing"


def test_16_bits_that_keras_cannot_read_back_are_told(rng, tmp_path):
    path = tmp_path / "model.h5"
    told = "must end in .keras for bfloat16, got '.h5', from which Keras cannot read it back: "
    with pytest.raises(ValueError, match=rf"^write: {re.escape(f'{path} {told}')}rename it\.$"):
        interop.write(path, *draw_net(rng, "before", jnp.bfloat16))
    assert not path.exists()
    for name, dtype in (("model.h5", jnp.float16), ("model.keras", jnp.bfloat16)):
        net, params = draw_net(rng, "before", dtype)
        interop.write(tmp_path / name, net, params)
        assert_same_bits(interop.read(tmp_path / name)[1], params)
