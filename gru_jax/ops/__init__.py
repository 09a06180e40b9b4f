"""Products with float32 sums, activations, initialisers, checks."""
