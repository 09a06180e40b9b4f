"""ONNX models of `GRU` nodes, which ONNX Runtime and many others run.

    model or path  --from_onnx-->  net, params  --to_onnx-->  model

Its rows stand in the order z, r, c and its z weighs the old state. It has both forms.
"""

from gru_jax.interop.onnx.exporting import to_onnx as to_onnx
from gru_jax.interop.onnx.importing import from_onnx as from_onnx
