"""Live modules of PyTorch code, written from the equations, where the extra `peers` is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from torch_cases import draw_module

import gru_jax as gj
from gru_jax import interop

pytestmark = pytest.mark.peers

CHANNELS, INPUT = 4, 3


def run_live(torch, module, xs, h0):
    """Returns all states of a module, its gradients by name, and those of xs and h0."""
    xs, h0 = (torch.from_numpy(np.moveaxis(a, -1, -3)).requires_grad_() for a in (xs, h0))
    h, hs = h0, []
    for x in xs.unbind(1):
        h = module(x, h)
        hs.append(h)
    hs = torch.stack(hs, 1)
    hs.sin().sum().backward()
    images = [np.moveaxis(a.detach().numpy(), -3, -1) for a in (hs, xs.grad, h0.grad)]
    return images[0], {k: v.grad.numpy() for k, v in module.named_parameters()}, images[1:]


def gate(torch, kernel, width=1):
    padding = tuple(size // 2 for size in kernel)
    sizes = CHANNELS + INPUT, width * CHANNELS
    return torch.nn.Conv2d(*sizes, kernel, padding=padding, dtype=torch.float64)


def build_raft(torch, kernels=((3, 3),), numbered=False):
    """RAFT's ConvGRU, and its SepConvGRU."""

    class Raft(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for number, kernel in enumerate(kernels, 1):
                for letter in "zrq":
                    name = f"conv{letter}{number if numbered else ''}"
                    self.add_module(name, gate(torch, kernel))

        def forward(self, x, h):
            for number in range(1, len(kernels) + 1):
                convz, convr, convq = (
                    self.get_submodule(f"conv{letter}{number if numbered else ''}")
                    for letter in "zrq"
                )
                hx = torch.cat([h, x], 1)
                z, r = convz(hx).sigmoid(), convr(hx).sigmoid()
                h = (1 - z) * h + z * convq(torch.cat([r * h, x], 1)).tanh()
            return h

    return Raft()


def build_torchvision(torch, kernels):
    """The RecurrentBlock of torchvision."""

    class RecurrentBlock(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for number, kernel in enumerate(kernels, 1):
                self.add_module(f"convgru{number}", build_raft(torch, (kernel,)))

        def forward(self, x, h):
            for cell in self.children():
                h = cell(x, h)
            return h

    return RecurrentBlock()


def build_two_convolutions(torch, kernel, old=False):
    """The ConvGRU of Robust Video Matting; with `old`, its z weighs the old state."""

    class TwoConvolutions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ih = torch.nn.Sequential(gate(torch, kernel, 2), torch.nn.Sigmoid())
            self.hh = torch.nn.Sequential(gate(torch, kernel), torch.nn.Tanh())

        def forward(self, x, h):
            r, z = self.ih(torch.cat([x, h], 1)).split(CHANNELS, 1)
            c = self.hh(torch.cat([x, r * h], 1))
            return z * h + (1 - z) * c if old else (1 - z) * h + z * c

    return TwoConvolutions()


LIVE = {
    "ConvGRU": (build_raft, {}, {"layout": "raft"}),
    "SepConvGRU": (
        build_raft,
        {"kernels": ((1, 5), (5, 1)), "numbered": True},
        {"layout": "raft"},
    ),
    "RecurrentBlock": (
        build_torchvision,
        {"kernels": ((1, 5), (5, 1))},
        {"layout": "torchvision"},
    ),
    "small RecurrentBlock": (build_torchvision, {"kernels": ((3, 3),)}, {"layout": "torchvision"}),
    "RVM": (build_two_convolutions, {"kernel": (3, 3)}, {"layout": "two_convolutions"}),
    "old": (
        build_two_convolutions,
        {"kernel": (5, 3), "old": True},
        {"layout": "two_convolutions", "old": True},
    ),
}
"""Builders of live modules, their arguments, and the options of `to_conv_gru`."""


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("space", [(6, 4), (5, 7)])
@pytest.mark.parametrize("name", LIVE)
def test_a_live_module_there_and_back(torch, name, space, rng):
    build, arguments, options = LIVE[name]
    module = draw_module(torch, build(torch, **arguments))
    xs, h0 = rng.normal(size=(2, 4, *space, INPUT)), rng.normal(size=(2, *space, CHANNELS))
    hs, grads, image_grads = run_live(torch, module, xs, h0)
    cell, params = interop.from_conv_gru(module.state_dict(), old=options.get("old", False))

    def loss(params, xs, h0):
        actual, _ = gj.unroll(cell, params, xs, h0)
        return jnp.sin(actual).sum(), actual

    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    (params_grad, *actual_grads), actual = differentiate(params, xs, h0)
    tolerance = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(actual, hs, **tolerance)
    for a, b in zip(actual_grads, image_grads, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    # Gates and signs stand in gradients where they stand in weights.
    mine = interop.to_conv_gru(cell, params_grad, **options)
    assert mine.keys() == grads.keys()
    for key, value in grads.items():
        np.testing.assert_allclose(mine[key], value, **tolerance)

    tensors = interop.to_conv_gru(cell, params, **options)
    again = build(torch, **arguments)
    again.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    for key, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    np.testing.assert_array_equal(run_live(torch, again, xs, h0)[0], hs)


def test_a_live_model_gives_its_gru_by_its_place(torch):
    model = torch.nn.ModuleDict({"gru": build_raft(torch).bfloat16(), "fc": torch.nn.Linear(2, 2)})
    cell, params = interop.from_conv_gru(model.state_dict(), name="gru")
    assert str(cell) == "conv_gru(4, dtype='bfloat16')"
    weight = model["gru"].convq.weight.detach().float().numpy()
    np.testing.assert_array_equal(
        np.moveaxis(weight[:, CHANNELS:], (1, 0), (-2, -1)), params.W_c[..., :INPUT, :]
    )
    with refused("from_conv_gru: convq.bias must be a tensor with all its numbers, got meta."):
        interop.from_conv_gru(
            {k: v.to("meta") if "q.b" in k else v for k, v in model["gru"].state_dict().items()}
        )
