"""Weights from and to keras."""
