"""GRUs and LSTMs of other frameworks in and out, and nets in files.

    net, params = interop.from_torch(torch.nn.GRU(12, 64))
    layer = interop.to_keras(net, params)

Every framework meets the others in one place, a list of `Level`s:

    torch/ keras/ flax/ onnx/ haiku equinox  <->  stack.Level, gates  <->  net, params
    kinds      GRU and LSTM: their parameters and gates
    conv_gru   convolutional GRUs of PyTorch code  <->  cell, params
    limits     the nets that each framework can compute
    formats    read, write, leftovers: any file, by its ending
    safetensors  save, load: any net of gru_jax, with its architecture in the header

A framework is imported by the functions that are named for it.
"""

from gru_jax.files import FormatName as FormatName
from gru_jax.interop.conv_gru import from_conv_gru as from_conv_gru
from gru_jax.interop.conv_gru import to_conv_gru as to_conv_gru
from gru_jax.interop.equinox import from_equinox as from_equinox
from gru_jax.interop.equinox import to_equinox as to_equinox
from gru_jax.interop.flax.linen import from_linen as from_linen
from gru_jax.interop.flax.linen import to_linen as to_linen
from gru_jax.interop.flax.nnx import from_nnx as from_nnx
from gru_jax.interop.flax.nnx import to_nnx as to_nnx
from gru_jax.interop.formats import leftovers as leftovers
from gru_jax.interop.formats import read as read
from gru_jax.interop.formats import write as write
from gru_jax.interop.haiku import from_haiku as from_haiku
from gru_jax.interop.haiku import to_haiku as to_haiku
from gru_jax.interop.keras.exporting import to_keras as to_keras
from gru_jax.interop.keras.importing import from_keras as from_keras
from gru_jax.interop.onnx.exporting import to_onnx as to_onnx
from gru_jax.interop.onnx.importing import from_onnx as from_onnx
from gru_jax.interop.safetensors import load as load
from gru_jax.interop.safetensors import load_metadata as load_metadata
from gru_jax.interop.safetensors import load_params as load_params
from gru_jax.interop.safetensors import save as save
from gru_jax.interop.torch.exporting import to_torch as to_torch
from gru_jax.interop.torch.exporting import to_torch_state as to_torch_state
from gru_jax.interop.torch.importing import from_torch as from_torch
