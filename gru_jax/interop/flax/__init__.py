"""Weights from and to flax."""
