"""Live PyTorch's LSTMs beside ours: values, gradients, and the way there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import same_bits
from refusals import refused
from torch_cases import BATCH, HIDDEN, INPUT, TIME, draw_module

import gru_jax as gj
from gru_jax import interop

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("x64")]

CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def draw(torch, *shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def array(tensor):
    return jnp.asarray(tensor.detach().numpy())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_an_lstm_with_lengths_there_and_back(torch, layers, both, bias):
    options = {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": True}
    module = torch.nn.LSTM(INPUT, HIDDEN, **options, dtype=torch.float64)
    draw_module(torch, module)
    xs = draw(torch, BATCH, TIME, INPUT)
    h0, c0 = (draw(torch, layers * (1 + both), BATCH, HIDDEN) for _ in range(2))
    lengths = np.array([6, 1, 4, 3])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        xs, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
    )
    ys, (h_n, c_n) = module(packed, (h0, c0))
    ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, batch_first=True)
    weigh = [torch.randn_like(value) for value in (ys, h_n, c_n)]
    sum((w * value).sum() for w, value in zip(weigh, (ys, h_n, c_n), strict=True)).backward()

    net, params = interop.from_torch(module)
    tree = jax.tree.structure(net.initial_state(params, (BATCH, INPUT)))

    def run(params, xs, h0, c0):
        states = [state for pair in zip(h0, c0, strict=True) for state in pair]
        ys, last = net.apply(params, xs, tree.unflatten(states), lengths=lengths)
        leaves = jax.tree.leaves(last)
        return ys, jnp.stack(leaves[::2]), jnp.stack(leaves[1::2])

    def loss(*args):
        return sum((array(w) * v).sum() for w, v in zip(weigh, run(*args), strict=True))

    args = params, *map(array, (xs, h0, c0))
    grads, *others = jax.grad(loss, argnums=(0, 1, 2, 3))(*args)
    mine = interop.to_torch_state(net, grads)
    pairs = [*zip(run(*args), (ys, h_n, c_n), strict=True)]
    pairs += zip(others, (xs.grad, h0.grad, c0.grad), strict=True)
    pairs += [(mine[k], v.grad) for k, v in module.named_parameters() if "bias_hh" not in k]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.detach().numpy(), **CLOSE)

    again = interop.to_torch(net, params, bias=bias)
    assert type(again) is torch.nn.LSTM
    for key, value in module.state_dict().items():
        if key.startswith("weight"):
            assert torch.equal(again.state_dict()[key], value)
    with torch.no_grad():
        np.testing.assert_allclose(again(xs)[0], module(xs)[0], **CLOSE)
    assert interop.from_torch(again)[0].architecture == net.architecture
    same_bits(interop.from_torch(again)[1], params)
    same_bits(interop.from_torch(module.state_dict())[1], params)


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_a_cell(torch, bias):
    module = draw_module(torch, torch.nn.LSTMCell(INPUT, HIDDEN, bias, dtype=torch.float64))
    cell, params = interop.from_torch(module)
    assert cell.architecture == gj.lstm(HIDDEN, dtype="float64").architecture
    x, h, c = (draw(torch, BATCH, size) for size in (INPUT, HIDDEN, HIDDEN))
    state = cell.step(params, array(x), gj.LSTMState(array(h), array(c)))
    for ours, theirs in zip(state, module(x, (h, c)), strict=True):
        np.testing.assert_allclose(ours, array(theirs), **CLOSE)
    again = interop.to_torch(cell, params, bias=bias)
    assert type(again) is torch.nn.LSTMCell
    same_bits(interop.from_torch(again)[1], params)


def test_the_rate_between_layers_and_files_go_there_and_back(torch, tmp_path):
    module = torch.nn.LSTM(INPUT, HIDDEN, 3, dropout=0.25, dtype=torch.float64)
    net, params = interop.from_torch(module)
    builders = [part.builder for part in net.architecture.parts]
    assert builders == ["recurrent", "dropout", "recurrent", "dropout", "recurrent"]
    assert interop.to_torch(net, params).dropout == 0.25
    interop.write(tmp_path / "a.pt", net, params)
    _, same = interop.read(tmp_path / "a.pt")
    same_bits([*map(tuple, same)], [*map(tuple, params[::2])])
    larger = torch.nn.ModuleDict({"rnn": module, "gru": torch.nn.GRU(2, 3)})
    same_bits(interop.from_torch(larger, name="rnn")[1], params)


def test_what_is_no_lstm_of_ours_is_refused(torch):
    projected = torch.nn.LSTM(INPUT, HIDDEN, proj_size=2, dtype=torch.float64)
    with refused(
        "from_torch: proj_size of source must be 0, got an LSTM with weight_hr_l0: the LSTM of "
        "gru_jax does not project its state."
    ):
        interop.from_torch(projected)
    own = type("Own", (torch.nn.LSTM,), {})(INPUT, HIDDEN)
    with refused(
        "from_torch: source must be PyTorch's own GRU or LSTM, got a Own, which may compute "
        "something else: give its state_dict()."
    ):
        interop.from_torch(own)
    cells = [gj.gru(4, reset="after"), gj.lstm(4)]
    net = gj.stack(*map(gj.recurrent, cells))
    with refused(
        "to_torch: net must have one kind of cell in all layers, got ['GRU', 'LSTM']: a "
        "PyTorch module has the same for all; convert the layers one by one."
    ):
        interop.to_torch(net, net.init(jax.random.key(0), INPUT))
    net = gj.recurrent(gj.lstm(4), reverse=True)
    with refused(
        "to_torch: net must run forward, got reverse=True: PyTorch's LSTM cannot run backward "
        "alone with outputs in the order of the inputs; use Flax linen or Flax nnx."
    ):
        interop.to_torch(net, net.init(jax.random.key(0), INPUT))
