"""A cell, its parameters and its inputs, whose shapes are quoted in the messages of errors."""

import jax
import jax.numpy as jnp

import gru_jax as gj

CELL = gj.gru(64)
PARAMS = CELL.init(jax.random.key(0), 12)
XS = jnp.zeros((32, 100, 12))
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))
