"""Files of any format, known by their endings and names, damaged, too large or none at all."""

import json

import equinox as eqx
import jax
import numpy as np
import pytest
from interop_cases import AFTER, check_damaged, check_message, draw_params, same_bits, torch_case
from safetensors.numpy import save_file

import gru_jax as gj
from gru_jax import files, interop

WRITERS = {".safetensors": {}, ".npz": {"format": "torch"}, ".eqx": {}}
# After its second array an Equinox file is that of a cell without bias.
WHOLE = {".safetensors": set(), ".npz": set(), ".eqx": {2 * 128 + 4 * (6 * 1 + 6 * 2)}}


@pytest.mark.parametrize("ending", WRITERS)
def test_every_beginning_of_a_file_is_refused_and_flipped_bytes_do_no_harm(rng, tmp_path, ending):
    path = tmp_path / f"net{ending}"
    cell = gj.gru(2, reset="after")
    params = draw_params(rng, cell, "float32", 1)
    interop.write(path, cell, params, **WRITERS[ending])
    same_bits(interop.read(path)[1], params)
    results, refusals = check_damaged(rng, path, legal=WHOLE[ending])
    for _, found in results:
        assert [a.shape for a in jax.tree.leaves(found)] == [a.shape for a in params]
    assert refusals > 50


def test_a_damaged_archive_is_not_quoted(tmp_path):
    """Zipfile's error holds the whole header of a member, thousands of bytes."""
    path = tmp_path / "a.npz"
    np.savez(path, weight_ih_l0=np.ones((12, 300)))
    content = bytearray(path.read_bytes())
    content[26:28] = (60000).to_bytes(2, "little")  # the length of the name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz must be a whole \.npz, without pickles") as error:
        interop.read(path)
    check_message(error.value, path)


@pytest.mark.parametrize("size", [2**20, 2**40, 2**63])
def test_absurd_sizes_are_refused_before_anything_is_made(tmp_path, size):
    header = json.dumps({"W_r": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}})
    for count in (len(header), size):
        path = tmp_path / "net.safetensors"
        path.write_bytes(count.to_bytes(8, "little") + header.encode())
        with pytest.raises(ValueError, match="must be a whole safetensors file"):
            interop.load(path)
    with (tmp_path / "net.eqx").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (size, 3)}
        )
    with pytest.raises(ValueError, match=r"net\.eqx must be a whole eqx\.nn\.GRUCell"):
        interop.read(tmp_path / "net.eqx")


@pytest.mark.parametrize("ending", [".eqx", ".msgpack"])
def test_a_file_larger_than_may_be_is_not_read(rng, tmp_path, monkeypatch, ending):
    path, net = tmp_path / f"a{ending}", gj.recurrent(AFTER)
    interop.write(path, net, draw_params(rng, net, "float32"))
    monkeypatch.setattr(files, "MAX_BYTES", 500)
    with pytest.raises(ValueError, match=rf"a\{ending} must be 500 bytes or less, unpacked, got"):
        interop.read(path)


def test_pytorchs_arrays_are_known_by_their_names_in_other_files(tmp_path):
    state, _ = torch_case("both")
    net, params = interop.from_torch(state)
    np.savez(tmp_path / "a.npz", **state)
    save_file(state, tmp_path / "a.safetensors")
    for path in (tmp_path / "a.npz", tmp_path / "a.safetensors"):
        again, same = interop.read(path)
        assert again.architecture == net.architecture
        same_bits(same, params)
        interop.write(path, net, params, format="torch")
        same_bits(interop.read(path, format="torch")[1], params)
    np.savez(
        tmp_path / "a.npz", **{f"model.rnn.{k}": v for k, v in state.items()}, other=np.ones(3)
    )
    same_bits(interop.read(tmp_path / "a.npz", name="model.rnn")[1], params)
    with pytest.raises(ValueError, match=r"a\.npz: from_torch: name must be .* got 'gru'"):
        interop.read(tmp_path / "a.npz", name="gru")


def test_haikus_arrays_are_known_by_their_names(rng, tmp_path):
    net = gj.stack(*[gj.recurrent(gj.gru(4))] * 2)
    params = draw_params(rng, net, "float32")
    for name in ("a.npz", "a.safetensors", "a.bin"):
        interop.write(tmp_path / name, net, params, format="haiku")
        format = "haiku" if name == "a.bin" else None
        again, same = interop.read(tmp_path / name, format=format)
        assert again.architecture == net.architecture
        same_bits(same, params)
    interop.write(tmp_path / "b.bin", AFTER, AFTER.init(jax.random.key(0), 3), format="equinox")
    assert {p.name for p in tmp_path.iterdir()} == {"a.npz", "a.safetensors", "a.bin", "b.bin"}
    same_bits(interop.read(tmp_path / "a.npz", name="gru_1")[1], params[1])
    with pytest.raises(ValueError, match="name must be 'gru' or 'gru_1', got 'x'"):
        interop.read(tmp_path / "a.npz", name="x")
    within = {f"model/encoder/{key}": array for key, array in np.load(tmp_path / "a.npz").items()}
    np.savez(tmp_path / "a.npz", **within, **{"model/linear/w": np.ones(3)})
    same_bits(interop.read(tmp_path / "a.npz", name="encoder/gru_1")[1], params[1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bias", [True, False])
def test_equinoxs_file_is_read_without_equinox(tmp_path, bias, dtype):
    cell = eqx.nn.GRUCell(3, 4, bias, dtype=dtype, key=jax.random.key(0))
    eqx.tree_serialise_leaves(tmp_path / "a.eqx", cell)
    same_bits(interop.read(tmp_path / "a.eqx")[1], interop.from_equinox(cell)[1])
    eqx.tree_serialise_leaves(tmp_path / "a.eqx", eqx.nn.Linear(3, 4, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"a\.eqx must be a whole eqx\.nn\.GRUCell or LSTMCell"):
        interop.read(tmp_path / "a.eqx")


def test_what_is_no_such_file_is_said(rng, tmp_path):
    params = draw_params(rng, AFTER, "float32")
    for path in ("a.bin", "a", "b.npz"):
        with pytest.raises(ValueError, match=f"write: .*{path} must end in one of .pt .pth"):
            interop.write(tmp_path / path, AFTER, params)
    (tmp_path / "a.bin").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"read: .*a.bin must end in one of .pt .pth .keras"):
        interop.read(tmp_path / "a.bin")
    with pytest.raises(ValueError, match=r"format must be one of torch, keras, .* got 'pickle'"):
        interop.read(tmp_path / "a.bin", format="pickle")
    with pytest.raises(FileNotFoundError, match=r"read: no file .*c\.onnx"):
        interop.read(tmp_path / "c.onnx")
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(ValueError, match=r"must hold a GRU or an LSTM by PyTorch's or H.*got x"):
        interop.read(tmp_path / "a.npz")
    half = jax.tree.map(lambda a: a.astype("bfloat16"), params)
    with pytest.raises(ValueError, match=r"an \.npz must hold NumPy's own dtypes, got bfloat16"):
        interop.write(tmp_path / "a.npz", AFTER, half, format="torch")
    with pytest.raises(FileNotFoundError, match="must be in a folder that exists"):
        interop.write(tmp_path / "no" / "a.safetensors", AFTER, params)
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "a.npz"}


def test_a_layer_of_a_stack_is_read_by_its_number(rng, tmp_path):
    net = gj.stack(gj.gaussian_noise(0.1), gj.recurrent(AFTER), gj.pool(), gj.dense(2))
    params = draw_params(rng, net, "float32")
    interop.save(tmp_path / "net.safetensors", net, params)
    layer, same = interop.read(tmp_path / "net.safetensors", name="1")
    assert layer.architecture == gj.recurrent(AFTER).architecture
    same_bits(same, params[1])
    with pytest.raises(ValueError, match=r"name must be None or .* in the stack, 0 1 2 3, got '4'"):
        interop.read(tmp_path / "net.safetensors", name="4")
    interop.save(tmp_path / "cell.safetensors", AFTER, params[1])
    with pytest.raises(ValueError, match=r"name must be None .* got '0'"):
        interop.read(tmp_path / "cell.safetensors", name="0")
    interop.write(tmp_path / "cell.eqx", AFTER, params[1])
    with pytest.raises(ValueError, match=r"name must be None, for .*\.eqx holds a single cell"):
        interop.read(tmp_path / "cell.eqx", name="0")


ENDINGS = (".pt", ".keras", ".h5", ".msgpack", ".eqx", ".onnx", ".safetensors", ".npz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_file_is_called_empty_and_a_folder_a_folder(rng, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.touch()
    with pytest.raises(ValueError, match="must hold a net, but is empty"):
        interop.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=f"a{ending} must be a whole checkpoint of Flax's"):
        interop.read(path)
    with pytest.raises(ValueError, match=f"a{ending} must be a file, but is a folder"):
        interop.read(path, format="onnx")
    if ending == ".pt":
        return  # Needs PyTorch to be written.
    net = gj.recurrent(gj.gru(4) if ending == ".npz" else AFTER)
    params, format = draw_params(rng, net, "float32"), "haiku" if ending == ".npz" else None
    with pytest.raises(IsADirectoryError, match=f"a{ending} must be a file, but is a folder"):
        interop.write(path, net, params, format=format)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
