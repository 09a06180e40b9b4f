"""Weights from and to torch."""
