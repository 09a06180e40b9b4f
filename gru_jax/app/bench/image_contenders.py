"""The contenders over images, all with kernels of 3 x 3 and the reset gate before the product.

Flax and PyTorch have no convolutional GRU, so these cells are written as their users write them.
linen_lstm is Flax's own convolutional LSTM. It computes a different function, so its numbers are
not compared.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax import interop
from gru_jax.app.bench.calls import Calls, awaited, make_jax_calls, torch_device
from gru_jax.app.bench.contenders import OURS, Contender, make_gru_jax
from gru_jax.app.bench.problem import KERNEL, Problem


def make_linen(problem: Problem) -> Calls:
    """Sets up a cell of two `nn.Conv` in Flax linen's `RNN`: one for r and z, one for c."""
    from flax import linen as nn

    class ConvGRUCell(nn.RNNCellBase):
        features: int

        @nn.compact
        def __call__(self, h: Array, x: Array) -> tuple[Array, Array]:
            gates = nn.Conv(2 * self.features, KERNEL, name="gates")
            candidate = nn.Conv(self.features, KERNEL, name="candidate")
            r, z = jnp.split(nn.sigmoid(gates(jnp.concatenate([x, h], -1))), 2, -1)
            c = nn.tanh(candidate(jnp.concatenate([x, r * h], -1)))
            h = (1 - z) * h + z * c
            return h, h

        @nn.nowrap
        def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Array:
            del rng
            return jnp.zeros((*input_shape[:-1], self.features))

        @property
        def num_feature_axes(self) -> int:
            return 1 + len(KERNEL)

    def convert(params: gj.ConvGRUParams) -> Any:
        kernel = np.concatenate([params.W_r, params.W_z], -1)
        bias = np.concatenate([params.b_r, params.b_z])
        gates, candidate = (kernel, bias), (params.W_c, params.b_c)
        convolutions = {"gates": gates, "candidate": candidate}
        cell = {n: {"kernel": W, "bias": b} for n, (W, b) in convolutions.items()}
        return {"params": {"cell": cell}}

    rnn: Any = nn.RNN(ConvGRUCell(problem.hidden_size))
    return make_jax_calls(problem, convert, rnn.apply)


def make_linen_lstm(problem: Problem) -> Calls:
    """Sets up Flax linen's `RNN(ConvLSTMCell)` with new weights."""
    from flax import linen as nn

    rnn: Any = nn.RNN(nn.ConvLSTMCell(problem.hidden_size, KERNEL))
    weights = rnn.init(jax.random.key(0), problem.xs[:1, :1])
    return make_jax_calls(problem, lambda _: weights, rnn.apply)


def make_torch(problem: Problem) -> Calls:
    """Sets up RAFT's `ConvGRU` in a Python loop over time, channels first."""
    import torch
    from torch import Tensor, nn

    class ConvGRU(nn.Module):
        def __init__(self, input_size: int, channels: int) -> None:
            super().__init__()
            convolution = partial(nn.Conv2d, channels + input_size, channels, KERNEL, padding=1)
            self.convz, self.convr, self.convq = convolution(), convolution(), convolution()

        def forward(self, h: Tensor, x: Tensor) -> Tensor:
            hx = torch.cat([h, x], dim=1)
            z = torch.sigmoid(self.convz(hx))
            r = torch.sigmoid(self.convr(hx))
            q = torch.tanh(self.convq(torch.cat([r * h, x], dim=1)))
            return (1 - z) * h + z * q

    net = ConvGRU(problem.xs.shape[-1], problem.hidden_size)

    def weights(params: gj.ConvGRUParams) -> list[np.ndarray]:
        arrays = interop.to_conv_gru(problem.cell, params)
        return [arrays[name] for name, _ in net.named_parameters()]

    tensors = interop.to_conv_gru(problem.cell, problem.params)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    net.to(where := torch_device())
    xs, weigh = (
        torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 2))).to(where)
        for a in (problem.xs, problem.weigh)
    )
    xs_train = xs.clone().requires_grad_()

    def unroll(xs: Tensor) -> Tensor:
        h, hs = torch.zeros_like(weigh[:, 0]), []
        for x in xs.unbind(1):
            h = net(h, x)
            hs.append(h)
        return torch.stack(hs, dim=1)

    def train() -> Any:
        loss = (weigh * unroll(xs_train)).sum()
        return loss, torch.autograd.grad(loss, [*net.parameters(), xs_train])

    def gradients(result: Any) -> tuple[list[np.ndarray], np.ndarray]:
        *grads, xs_grad = (grad.cpu().numpy() for grad in result[1])
        return grads, np.moveaxis(xs_grad, 2, -1)

    return Calls(
        forward=awaited(torch.inference_mode()(lambda: unroll(xs))),
        hs=lambda states: np.moveaxis(states.cpu().numpy(), 2, -1),
        weights=weights,
        train=awaited(train),
        gradients=gradients,
    )


IMAGE_CONTENDERS = {
    OURS: Contender(("before",), partial(make_gru_jax, backend="auto"), {}),
    "linen": Contender(("before",), make_linen, {"flax": "flax"}),
    "linen_lstm": Contender((None,), make_linen_lstm, {"flax": "flax"}),
    "torch": Contender(("before",), make_torch, {"torch": "torch"}, ("cpu", "gpu")),
}
"""Every contender by name, gru_jax first."""
