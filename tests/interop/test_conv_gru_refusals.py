"""Convolutional GRUs that do not fit a layout are refused in one sentence."""

import jax
import numpy as np
import pytest
from conv_gru_layouts import draw_tensors
from refusals import refused

import gru_jax as gj
from gru_jax import interop


def changed(name="raft", **changes):
    """Returns the tensors of a case with some replaced, or without those that are None."""
    tensors = draw_tensors(np.random.default_rng(0), name, "float32")
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return {k: v for k, v in (tensors | changes).items() if v is not None}


def ones(*shape, dtype="f"):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            None,
            "tensors must be a dict of arrays by name, e.g. module.state_dict(), got a NoneType.",
        ),
        ({}, "there must be a GRU, got nothing."),
        ({"fc.weight": ones(3)}, "there must be a GRU, got fc.weight."),
        (
            changed(convq__bias=None, convz__weight=None),
            'tensors must be a convolutional GRU in the layout "raft", got one without convq.bias, '
            "convz.weight.",
        ),
        (
            {f"a.{k}": v for k, v in changed(fc__weight=ones(2), convq__bias=None).items()},
            'a must be a convolutional GRU in the layout "raft", got one without convq.bias and '
            "with fc.weight, too.",
        ),
        (
            changed("raft-separable", convz1__weight=None),
            'tensors must be a convolutional GRU in the layout "raft", got one without '
            "convz1.weight.",
        ),
        (
            changed("torchvision", convgru1__norm__weight=ones(4)),
            'tensors must be a convolutional GRU in the layout "torchvision", got one with '
            "convgru1.norm.weight, too.",
        ),
        (
            changed("two-convolutions", ih__0__bias=None),
            'tensors must be a convolutional GRU in the layout "two_convolutions", got one without '
            "ih.0.bias.",
        ),
        (
            changed(convz__weight=ones(4, 8, 3, 3)),
            "convz.weight must be (4, 7, 3, 3), got (4, 8, 3, 3).",
        ),
        (changed(convr__bias=ones(5)), "convr.bias must be (4,), got (5,)."),
        (
            changed(convr__bias=ones(4, dtype=int)),
            "convr.bias must be floating-point numbers, got int64.",
        ),
        (
            changed(convr__bias=ones(4, dtype="e")),
            "weights must have one dtype, got float16 and float32.",
        ),
        (
            changed(convr__bias=ones(4, dtype="d")),
            "convr.bias must be float32 while JAX holds 32 bits, got float64: cast it, or begin "
            'with jax.config.update("jax_enable_x64", True), which in a shell is JAX_ENABLE_X64=1.',
        ),
        (
            changed(convq__weight=ones(4, 4, 3, 3), convz__weight=ones(4, 4, 3, 3)),
            "convz.weight must be (4, 5, 3, 3), got (4, 4, 3, 3).",
        ),
        (
            changed("two-convolutions", ih__0__weight=ones(4, 7, 3, 5)),
            "ih.0.weight must be (8, 7, 3, 5), got (4, 7, 3, 5).",
        ),
        (
            changed(convq__weight=ones(4, 7)),
            "convq.weight must be [output, input, *kernel] with one to three kernel axes, as many "
            "in each weight, got (4, 7).",
        ),
        (
            changed("raft-separable", convq2__weight=ones(4, 7, 3)),
            "convq2.weight must be [output, input, *kernel] with one to three kernel axes, as many "
            "in each weight, got (4, 7, 3).",
        ),
        (
            changed(convq__weight=ones(4, 7, 3, 2)),
            "the kernel of convq.weight must be odd, got (3, 2): PyTorch code pads even kernels by "
            "hand, each in its own way.",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_one_sentence(tensors, message):
    with refused(f"from_conv_gru: {message}"):
        interop.from_conv_gru(tensors)


KEEPS = "; interop.save keeps such a cell."
LACKS = ": no layout has it" + KEEPS


@pytest.mark.parametrize(
    ("options", "layout", "message"),
    [
        ({"reset": "after"}, "raft", f"reset must be 'before', got 'after'{LACKS}"),
        ({"coordinates": True}, "raft", f"coordinates must be False, got True{LACKS}"),
        ({"context": True}, "torchvision", f"context must be False, got True{LACKS}"),
        ({"norm": "layer"}, "two_convolutions", f"norm must be None, got 'layer'{LACKS}"),
        ({"activation": "relu"}, "raft", f"activation must be 'tanh', got 'relu'{LACKS}"),
        (
            {"activation": lambda a: a},
            "raft",
            "cell must be a conv_gru with its activation given by name, got "
            "Cell(step=gru_jax.cells.conv_gru.step).",
        ),
        (
            {"separable": True},
            "two_convolutions",
            'kernel_size must be of at most 1 kernels in the layout "two_convolutions", got 2'
            + KEEPS,
        ),
        (
            {"separable": True, "kernel_size": (3, 3, 3)},
            "raft",
            f'kernel_size must be of at most 2 kernels in the layout "raft", got 3{KEEPS}',
        ),
        (
            {"kernel_size": (3, 4)},
            "raft",
            "kernel_size must be odd, got (3, 4): PyTorch code pads even kernels by hand, each in "
            "its own way.",
        ),
        (
            {},
            "keras",
            'layout must be "raft" or "torchvision" or "two_convolutions", got \'keras\'.',
        ),
    ],
)
def test_cells_that_a_layout_cannot_express_are_refused(options, layout, message):
    cell = gj.conv_gru(2, **options)
    params = cell.init(jax.random.key(0), 7)
    with refused(f"to_conv_gru: {message}"):
        interop.to_conv_gru(cell, params, layout=layout)


def test_other_cells_and_other_parameters_are_refused():
    params = gj.gru(2).init(jax.random.key(0), 3)
    with refused(
        "to_conv_gru: cell must be a conv_gru with its activation given by name, got gru(2)."
    ):
        interop.to_conv_gru(gj.gru(2), params)
    with refused("conv_gru: params must be ConvGRUParams, got a GRUParams."):
        interop.to_conv_gru(gj.conv_gru(2), params)
