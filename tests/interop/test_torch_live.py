"""Live PyTorch, where the extra `peers` is: pytest -m peers."""

import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import (
    check_damaged,
    same_bits,
)

import gru_jax as gj
from gru_jax import files, interop

pytestmark = pytest.mark.peers

BATCH, TIME, INPUT, HIDDEN = 4, 6, 3, 5


@pytest.fixture
def torch():
    import torch

    torch.manual_seed(0)
    return torch


def draw_module(torch, module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.eval()


def numbers(torch, *shape, dtype="float32"):
    return torch.randn(*shape, dtype=getattr(torch, dtype), requires_grad=True)


def ours(tensor):
    return jnp.asarray(tensor.detach().numpy())


def states(net, params, h0):
    tree = jax.tree.structure(net.initial_state(params, (BATCH, INPUT)))
    return tree.unflatten(list(ours(h0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_live_gru_with_lengths_there_and_back(torch, layers, both, bias, dtype):
    with jax.enable_x64(dtype == "float64"):
        kind = {"num_layers": layers, "bidirectional": both, "bias": bias}
        module = torch.nn.GRU(INPUT, HIDDEN, **kind, batch_first=True, dtype=getattr(torch, dtype))
        draw_module(torch, module)
        xs = numbers(torch, BATCH, TIME, INPUT, dtype=dtype)
        h0 = numbers(torch, layers * (1 + both), BATCH, HIDDEN, dtype=dtype)
        lengths = np.array([6, 1, 4, 3])
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            xs, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        ys, h_n = module(packed, h0)
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, batch_first=True)
        weigh = torch.randn_like(ys)
        (weigh * ys).sum().backward()

        net, params = interop.from_torch(module)

        def run(params, xs, h0):
            return net.apply(params, xs, h0, lengths=lengths)

        def loss(*args):
            return (ours(weigh) * run(*args)[0]).sum()

        args = params, ours(xs), states(net, params, h0)
        found, last = run(*args)
        grads, xs_grad, h0_grad = jax.grad(loss, argnums=(0, 1, 2))(*args)
        mine = interop.to_torch_state(net, grads)
        size = 1e-12 if dtype == "float64" else 1e-5
        # Gradients of random weights are sums of up to 24 terms that are 20 times as large.
        for one, other, scale in (
            (found, ys, 1),
            (jnp.stack(jax.tree.leaves(last)), h_n, 1),
            (xs_grad, xs.grad, 20),
            (jnp.stack(jax.tree.leaves(h0_grad)), h0.grad, 20),
            *((mine[k], v.grad, 20) for k, v in module.named_parameters() if "bias_hh" not in k),
        ):
            np.testing.assert_allclose(one, ours_grad(other), rtol=size, atol=scale * size)
        again = interop.to_torch(net, params, bias=bias)
        assert type(again) is torch.nn.GRU
        for key, value in module.state_dict().items():
            if key.startswith("weight"):
                assert torch.equal(again.state_dict()[key], value)
        with torch.no_grad():
            np.testing.assert_allclose(again(xs, h0)[0], module(xs, h0)[0], rtol=size, atol=size)
        same_bits(interop.from_torch(again)[1], params)


def ours_grad(tensor):
    return tensor.detach().numpy()


def test_a_live_cell_and_its_half_precision(torch):
    module = draw_module(torch, torch.nn.GRUCell(INPUT, HIDDEN))
    cell, params = interop.from_torch(module)
    x, h = numbers(torch, BATCH, INPUT), numbers(torch, BATCH, HIDDEN)
    np.testing.assert_allclose(
        cell.step(params, ours(x), ours(h)), module(x, h).detach(), rtol=1e-5, atol=1e-5
    )
    assert type(interop.to_torch(cell, params)) is torch.nn.GRUCell
    bare, zero = interop.from_torch(torch.nn.GRUCell(INPUT, HIDDEN, bias=False))
    again = interop.to_torch(bare, zero, bias=False)
    assert set(again.state_dict()) == {"weight_ih", "weight_hh"}
    same_bits(interop.from_torch(again)[1], zero)
    for dtype in ("bfloat16", "float16"):
        half = interop.from_torch(module.to(getattr(torch, dtype)))[1]
        assert half.W_r.dtype == dtype
        again = interop.to_torch(cell, half)
        assert torch.equal(again.weight_hh, module.weight_hh)
        same_bits(interop.from_torch(again)[1], half)


def test_what_is_between_layers_crosses(torch):
    module = torch.nn.GRU(INPUT, HIDDEN, 2, dropout=0.25)
    net, params = interop.from_torch(module)
    assert [part.builder for part in net.architecture.parts] == [
        "recurrent",
        "dropout",
        "recurrent",
    ]
    assert interop.to_torch(net, params).dropout == 0.25


@pytest.mark.parametrize("both", [True, False])
def test_pytorch_to_every_other_framework_is_two_calls(torch, both):
    module = draw_module(torch, torch.nn.GRU(INPUT, HIDDEN, bidirectional=both, batch_first=True))
    with torch.no_grad():
        for name in ("bias_hh_l0", "bias_hh_l0_reverse")[: 1 + both]:
            getattr(module, name).zero_()  # nnx has no such bias
    xs = numbers(torch, BATCH, TIME, INPUT)
    expected = module(xs)[0].detach().numpy()
    net, params = interop.from_torch(module)
    xs = ours(xs)
    results = {}
    with jax.numpy_rank_promotion("allow"):
        results["keras"] = interop.to_keras(net, params)(xs)
        linen, variables = interop.to_linen(net, params)
        results["linen"] = linen.apply(variables, xs)
        results["nnx"] = interop.to_nnx(net, params)(xs)
        if not both:
            cell = interop.to_equinox(net, params)
            h, hs = jnp.zeros((BATCH, HIDDEN)), []
            for t in range(TIME):
                hs.append(h := jax.vmap(cell)(xs[:, t], h))
            results["equinox"] = jnp.stack(hs, 1)
    import onnxruntime

    session = onnxruntime.InferenceSession(interop.to_onnx(net, params).SerializeToString())
    results["onnx"] = session.run(None, {"xs": np.asarray(xs)})[0]
    for name, ys in results.items():
        np.testing.assert_allclose(np.asarray(ys), expected, atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match=r'to_haiku: (reset must be "before"|net must run in one)'):
        interop.to_haiku(net, params)


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


def test_dropout_is_that_of_the_gru_inside_a_model(torch):
    class Model(torch.nn.Module):
        def __init__(self, dropout):
            super().__init__()
            self.gru = torch.nn.GRU(INPUT, HIDDEN, 2, dropout=0.25)
            self.dropout = dropout

    for other in (0.9, torch.nn.Dropout(0.3)):
        net, params = interop.from_torch(Model(other))
        assert interop.to_torch(net, params).dropout == 0.25

    class Own(torch.nn.GRU):
        pass

    own = Own(INPUT, HIDDEN)
    with pytest.raises(ValueError, match=r"must be PyTorch's own GRU, got a Own, .* state_dict"):
        interop.from_torch(own)
    assert interop.from_torch(own.state_dict())


def test_the_network_of_an_ours_is_pytorchs_in_training(torch):
    """Gradients of a module made by to_torch are ours, too."""
    net = gj.stack(*[gj.recurrent(gj.gru(HIDDEN, reset="after"))] * 2)
    params = net.init(jax.random.key(0), INPUT)
    module = interop.to_torch(net, params)
    xs = numbers(torch, BATCH, TIME, INPUT)
    module(xs)[0].square().sum().backward()
    grads = jax.grad(lambda p: (net.apply(p, ours(xs))[0] ** 2).sum())(params)
    mine = interop.to_torch_state(net, grads)
    for key, parameter in module.named_parameters():
        if "bias_hh" not in key:
            np.testing.assert_allclose(mine[key], parameter.grad, rtol=1e-4, atol=1e-5)
