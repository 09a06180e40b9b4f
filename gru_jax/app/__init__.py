"""The command `gru-jax`: built on the public names alone."""
