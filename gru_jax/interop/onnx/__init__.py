"""ONNX models of `GRU` nodes, which ONNX Runtime and many others run.

    model or path  --from_onnx-->  net, params  --to_onnx-->  model

Its rows are in the order z, r, c and its z weighs the old state. It has both forms.
"""
