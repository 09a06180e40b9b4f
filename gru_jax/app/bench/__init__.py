"""`gru-jax bench`: how long the GRU takes here, and how long it takes other libraries."""
