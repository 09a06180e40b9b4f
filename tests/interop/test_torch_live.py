"""Live PyTorch, where the extra `peers` is: pytest -m peers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import same_bits
from torch_cases import BATCH, HIDDEN, INPUT, TIME, draw_module

import gru_jax as gj
from gru_jax import interop

pytestmark = pytest.mark.peers


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
    with pytest.raises(
        ValueError, match=r"must be PyTorch's own GRU or LSTM, got a Own, .* state_dict"
    ):
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
