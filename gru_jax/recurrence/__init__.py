"""A cell over time in JAX: boundaries, noise, chunks, the loop and its tangent."""
