"""Files that live PyTorch writes and reads, and those that would do harm: pytest -m peers."""

import pickle
from pathlib import Path

import pytest
from interop_cases import check_damaged, same_bits
from torch_cases import HIDDEN, INPUT, draw_module

from gru_jax import files, interop

pytestmark = pytest.mark.peers


def test_files_of_state_dicts_and_of_checkpoints(torch, tmp_path):
    module = draw_module(torch, torch.nn.GRU(INPUT, HIDDEN, 2, bidirectional=True))
    net, params = interop.from_torch(module)
    interop.write(tmp_path / "a.pt", net, params)
    again, same = interop.read(tmp_path / "a.pt")
    assert again.architecture == net.architecture
    same_bits(same, params)
    written = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.nn.GRU(INPUT, HIDDEN, 2, bidirectional=True).load_state_dict(written)
    state = {f"rnn.{k}": v for k, v in module.state_dict().items()}
    torch.save({"model": state | {"fc.weight": torch.ones(2)}, "epoch": 3}, tmp_path / "b.pth")
    same_bits(interop.read(tmp_path / "b.pth")[1], params)
    same_bits(interop.read(tmp_path / "b.pth", name="model.rnn")[1], params)


class Attack:
    """What, unpickled, would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(torch, tmp_path):
    path, victim = tmp_path / "a.pt", tmp_path / "victim"
    for content in ({"weight_ih_l0": Attack(victim)}, torch.nn.GRU(2, 3)):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"a\.pt must be a whole state dict, .*weights_only"):
            interop.read(path)
    path.write_bytes(pickle.dumps(Attack(victim)))
    with pytest.raises(ValueError, match=r"a\.pt must be a whole state dict"):
        interop.read(path)
    assert not victim.exists()


def test_a_damaged_file_is_one_error(torch, tmp_path, rng):
    path = tmp_path / "a.pt"
    module = torch.nn.GRUCell(1, 2)
    torch.save(module.state_dict(), path)
    _, refusals = check_damaged(rng, path, flips=300)
    assert refusals > 30
    wide = {"weight_ih": torch.ones(1).expand(3, 10**12), "weight_hh": torch.ones(3, 1)}
    torch.save(wide, path)
    with pytest.raises(ValueError, match="weight_ih must be a tensor with all its numbers, got fe"):
        interop.read(path)


def test_a_file_larger_than_may_be_is_not_read(torch, tmp_path, monkeypatch):
    torch.save(torch.nn.GRU(INPUT, HIDDEN).state_dict(), tmp_path / "a.pt")
    monkeypatch.setattr(files, "MAX_BYTES", 500)
    with pytest.raises(ValueError, match=r"a\.pt must be 500 bytes or less, unpacked, got"):
        interop.read(tmp_path / "a.pt")


def test_a_byte_that_is_another_is_seen(torch, tmp_path):
    """By the archive's checksums: the weights stand there plainly, and any number is a number."""
    path = tmp_path / "a.pt"
    torch.save(torch.nn.GRU(8, 8).state_dict(), path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(torch.load(path)["weight_hh_l0"].numpy().tobytes()) + 3] ^= 64
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"a\.pt must be a whole .* has another checksum"):
        interop.read(path)


ODD = {
    "sparse_coo": lambda torch: torch.ones(15, 3).to_sparse(),
    "sparse_csr": lambda torch: torch.ones(15, 3).to_sparse_csr(),
    "meta": lambda torch: torch.ones(15, 3, device="meta"),
    "quantized": lambda torch: torch.quantize_per_tensor(torch.ones(15, 3), 1, 0, torch.qint8),
    "torch.float8_e5m2": lambda torch: torch.ones(15, 3).to(torch.float8_e5m2),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:torch.quantize:UserWarning")
@pytest.mark.parametrize("name", ODD)
def test_a_tensor_that_is_no_plain_array_is_named_and_does_no_harm_elsewhere(torch, tmp_path, name):
    odd, path = ODD[name](torch), tmp_path / "a.pt"
    state = torch.nn.GRUCell(INPUT, HIDDEN).state_dict()
    with pytest.raises(ValueError, match=rf"^from_torch: weight_ih must be .* got {name}\.$"):
        interop.from_torch(state | {"weight_ih": odd})
    torch.save({"gru": state, "other": odd, "wide": torch.ones(1).expand(9)}, path)
    same_bits(interop.read(path)[1], interop.from_torch(state)[1])
