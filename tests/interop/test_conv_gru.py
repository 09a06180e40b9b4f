"""Convolutional GRUs of PyTorch code, beside NumPy's from the equations with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conv_gru_layouts import CASES, CHANNELS, INPUT, draw_tensors
from interop_cases import same_bits
from refusals import refused

import gru_jax as gj
from gru_jax import interop


def peer_step(name, tensors, x, h, old=False, context=(0, 0, 0)):
    """Returns h_t of a case by its own equations, in NumPy; the context is of r, z and c."""
    layout, kernels = CASES[name]

    def convolve(convolution, *images):
        W = np.moveaxis(tensors[f"{convolution}.weight"], (1, 0), (-2, -1))
        images = np.concatenate(images, -1)
        return reference.convolve(images, W) + tensors[f"{convolution}.bias"]

    for number in range(1, len(kernels) + 1):
        if layout == "two_convolutions":
            r, z = np.split(reference.sigmoid(convolve("ih.0", x, h)), 2, -1)
            c = np.tanh(convolve("hh.0", x, r * h))
        else:
            pattern = f"convgru{number}.conv%s" if layout == "torchvision" else "conv%s"
            pattern += str(number) if layout == "raft" and len(kernels) == 2 else ""
            z = reference.sigmoid(convolve(pattern % "z", h, x) + context[1])
            r = reference.sigmoid(convolve(pattern % "r", h, x) + context[0])
            c = np.tanh(convolve(pattern % "q", r * h, x) + context[2])
        h = z * h + (1 - z) * c if old else (1 - z) * h + z * c
    return h


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_layouts_own_equations(name, old, rng):
    tensors = draw_tensors(rng, name)
    cell, params = interop.from_conv_gru(tensors, old=old)
    space = (5, 4, 3)[: len(CASES[name][1][0])]
    x, h = rng.normal(size=(2, *space, INPUT)), rng.normal(size=(2, *space, CHANNELS))
    expected = peer_step(name, tensors, x, h, old)
    actual = cell.step(params, jnp.asarray(x), jnp.asarray(h))
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    own = params if len(CASES[name][1]) == 2 else (params,)
    for each in own:
        h = reference.conv_gates(each, x, h)[-1]
    np.testing.assert_allclose(h, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_gives_the_same_bits(name, old, rng, dtype):
    tensors = draw_tensors(rng, name, dtype)
    cell, params = interop.from_conv_gru(tensors, old=old)
    again = interop.to_conv_gru(cell, params, layout=CASES[name][0], old=old)
    assert list(again) == list(tensors)
    for key, value in tensors.items():
        assert isinstance(again[key], np.ndarray)
        assert again[key].dtype == value.dtype
        assert again[key].flags.c_contiguous
        assert again[key].flags.writeable
        assert again[key].shape == value.shape
        assert again[key].tobytes() == value.tobytes()
    cell_again, params_again = interop.from_conv_gru(again, old=old)
    assert cell_again == cell
    same_bits(params_again, params)


@pytest.mark.parametrize("layout", ["raft", "torchvision", "two_convolutions"])
def test_every_layout_takes_every_cell_of_one_kernel(layout, rng):
    _, params = interop.from_conv_gru(draw_tensors(rng, "raft", "float32"))
    cell = gj.conv_gru(CHANNELS)
    same_bits(interop.from_conv_gru(interop.to_conv_gru(cell, params, layout=layout))[1], params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_signed_zeros_and_the_smallest_numbers_cross_and_come_back(rng, dtype):
    numbers = [0.0, -0.0, 1e-40, -3e-39, 6e-8, 1.5, np.inf]
    cell = gj.conv_gru(2, dtype=dtype)
    params = jax.tree.map(
        lambda a: jnp.asarray(rng.choice(numbers, a.shape), dtype),
        cell.init(jax.random.key(0), 3),
    )
    for old in (False, True):
        tensors = interop.to_conv_gru(cell, params, old=old)
        same_bits(interop.from_conv_gru(tensors, old=old)[1], params)


def test_a_gru_is_found_inside_a_larger_model(rng):
    small = draw_tensors(rng, "torchvision-separable", "float32")
    other = draw_tensors(rng, "two-convolutions", "float32")
    larger = {f"update_block.recurrent_block.{k}": v for k, v in small.items()}
    larger["update_block.flow_head.conv1.weight"] = np.zeros((2, 3, 3, 3))
    cell, params = interop.from_conv_gru(small)
    assert str(cell) == "conv_gru(4, ((1, 5), (3, 1)), separable=True)"
    same_bits(interop.from_conv_gru(larger)[1], params)
    larger |= {f"decode4.gru.{k}": v for k, v in other.items()}
    same_bits(interop.from_conv_gru(larger, name="recurrent_block")[1], params)
    cell, params = interop.from_conv_gru(larger, name="decode4.gru")
    assert str(cell) == "conv_gru(4, (3, 5))"
    same_bits(params, interop.from_conv_gru(other)[1])
    with refused(
        "from_conv_gru: name must be 'update_block.recurrent_block' or 'decode4.gru', got None."
    ):
        interop.from_conv_gru(larger)


def test_the_two_convolutions_may_have_other_names(rng):
    tensors = draw_tensors(rng, "two-convolutions", "float32")
    names = "conv_gates", "conv_can"
    renamed = {k.replace("ih.0", names[0]).replace("hh.0", names[1]): v for k, v in tensors.items()}
    cell, params = interop.from_conv_gru(renamed, convolutions=names)
    same_bits(params, interop.from_conv_gru(tensors)[1])
    again = interop.to_conv_gru(cell, params, layout="two_convolutions", convolutions=names)
    assert list(again) == list(renamed)


@pytest.mark.usefixtures("x64")
def test_the_parameters_fit_a_cell_with_context(rng):
    tensors = draw_tensors(rng, "raft")
    _, params = interop.from_conv_gru(tensors)
    cell = gj.conv_gru(CHANNELS, context=True, dtype="float64")
    x, h = rng.normal(size=(5, 4, INPUT)), rng.normal(size=(5, 4, CHANNELS))
    context = rng.normal(size=(3, 5, 4, CHANNELS))
    expected = peer_step("raft", tensors, x, h, context=context)
    actual = cell.step(params, jnp.concatenate([x, *context], -1), jnp.asarray(h))
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
