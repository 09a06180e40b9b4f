"""Convolutional GRUs of PyTorch code, as random tensors by name, in every layout."""

import numpy as np
from interop_cases import draw

CHANNELS, INPUT = 4, 3
RAFT = {"convz": 1, "convr": 1, "convq": 1}
CASES = {
    "raft": ("raft", ((3, 3),)),
    "raft-separable": ("raft", ((1, 5), (3, 1))),
    "torchvision": ("torchvision", ((3, 3),)),
    "torchvision-separable": ("torchvision", ((1, 5), (3, 1))),
    "two-convolutions": ("two_convolutions", ((3, 5),)),
    "one-axis": ("raft", ((3,),)),
    "three-axes": ("two_convolutions", ((1, 3, 3),)),
}
"""Layouts and kernels."""


def draw_tensors(rng, name, dtype="float64"):
    """Returns the random weights of a case by PyTorch's names."""
    layout, kernels = CASES[name]
    tensors = {}
    for number, kernel in enumerate(kernels, 1):
        if layout == "two_convolutions":
            widths = {"ih.0": 2, "hh.0": 1}
        elif layout == "torchvision":
            widths = {f"convgru{number}.{convolution}": 1 for convolution in RAFT}
        else:
            suffix = number if len(kernels) == 2 else ""
            widths = {f"{convolution}{suffix}": 1 for convolution in RAFT}
        for convolution, width in widths.items():
            shape = (width * CHANNELS, CHANNELS + INPUT, *kernel)
            tensors[f"{convolution}.weight"] = np.asarray(draw(rng, shape, dtype)) / 2
            tensors[f"{convolution}.bias"] = np.asarray(draw(rng, shape[:1], dtype))
    return tensors
