"""Writes torch.npz: PyTorch's GRUs with random weights, what they compute, and its gradients.

Needs the extra `peers`: python tests/interop/golden/make_torch.py
"""

from pathlib import Path

import numpy as np
import torch

CASES = {
    "plain": {"dtype": torch.float32},
    "both": {"num_layers": 2, "bidirectional": True, "dtype": torch.float32},
    "no-bias": {"num_layers": 2, "bias": False, "dtype": torch.float64},
    "wide": {"bidirectional": True, "dtype": torch.float64},
    "cell": {"dtype": torch.float64},
}
"""Options of `nn.GRU`, and of `nn.GRUCell`, for 3 inputs and 4 features."""

BATCH, TIME, INPUT, HIDDEN = 2, 5, 3, 4


def make_case(options: dict, is_cell: bool) -> dict[str, np.ndarray]:
    """Returns arrays by their names: `state.*`, inputs, results, and `grad.*` of a random sum."""
    kind = torch.nn.GRUCell if is_cell else torch.nn.GRU
    module = kind(INPUT, HIDDEN, **options, **({} if is_cell else {"batch_first": True}))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    shapes = {"xs": (BATCH, TIME, INPUT), "h0": (BATCH, HIDDEN)}
    if is_cell:
        shapes["xs"] = (BATCH, INPUT)
    else:
        shapes["h0"] = (module.num_layers * (1 + module.bidirectional), BATCH, HIDDEN)
    inputs = {
        k: torch.randn(v, dtype=options["dtype"], requires_grad=True) for k, v in shapes.items()
    }
    results = (module(*inputs.values()),) if is_cell else module(*inputs.values())
    results = dict(zip(("ys", "h_n"), results, strict=False))
    weigh = {f"weigh_{k}": torch.randn_like(v) for k, v in results.items()}
    sum((weigh[f"weigh_{k}"] * v).sum() for k, v in results.items()).backward()
    found = {f"state.{k}": v for k, v in module.state_dict().items()}
    found |= {f"grad.{k}": v.grad for k, v in [*module.named_parameters(), *inputs.items()]}
    found |= inputs | results | weigh
    return {k: v.detach().numpy() for k, v in found.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    arrays = {
        f"{name}/{key}": value
        for name, options in CASES.items()
        for key, value in make_case(options, name == "cell").items()
    }
    np.savez_compressed(Path(__file__).parent / "torch.npz", **arrays)
