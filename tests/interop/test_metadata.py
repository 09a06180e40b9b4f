"""Texts that a user puts into the header of a safetensors file."""

import jax
import numpy as np
import pytest
from safetensors import safe_open

import gru_jax as gj
from gru_jax import interop


def test_texts_stand_beside_the_architecture(tmp_path):
    net, path = gj.recurrent(gj.gru(3)), tmp_path / "a.safetensors"
    params = net.init(jax.random.key(0), 2)
    texts = {"task": "sums", "scale": "[1.5]"}
    interop.save(path, net, params, metadata=texts)
    with safe_open(path, "numpy") as file:
        assert file.metadata().items() >= texts.items()
    assert interop.load_metadata(path).items() >= texts.items()
    again, same = interop.load(path)
    assert again.architecture == net.architecture
    np.testing.assert_array_equal(same.W_r, params.W_r)


def test_texts_do_not_replace_the_architecture(tmp_path):
    net, path = gj.gru(3), tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match=r"^save: metadata must not have format, architecture"):
        interop.save(path, net, net.init(jax.random.key(0), 2), metadata={"input_size": "7"})
    assert not path.exists()


def test_no_file_is_one_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^load_metadata: no file "):
        interop.load_metadata(tmp_path / "none.safetensors")
