"""Steps, the compiled loop, the host loop, checkpoints, losses and metrics."""
