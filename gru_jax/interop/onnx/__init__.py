"""Weights from and to onnx."""
