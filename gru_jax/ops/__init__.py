"""Products with float32 sums, normalisation, activations, initialisers, checks."""
