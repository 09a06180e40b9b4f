"""A cell on a backend, in programs of several kinds, and whether a program calls the kernel."""

import jax
import jax.numpy as jnp

import gru_jax as gj

CELL = gj.gru(4)
KEY = jax.random.key(0)
PARAMS = CELL.init(KEY, 3)
XS = jnp.ones((2, 5, 3))
NORMED = gj.layer_norm_gru(4)


def called(function, *args):
    """Returns whether the compiled program calls the kernel."""
    return "gru_jax_forward" in jax.jit(function).lower(*args).compile().as_text()


def run(**ways):
    return lambda params, xs: gj.unroll(CELL, params, xs, **ways)[0]


def on_axes(kinds, spec, backend=None, **ways):
    """Returns a program in a mesh of one device, and what it takes there."""
    names = ("a", "b")[: len(kinds)]
    mesh = jax.make_mesh((1,) * len(kinds), names, axis_types=kinds)
    sharding = jax.NamedSharding(mesh, jax.P(spec))
    program = run(backend=backend)
    if ways:
        program = jax.shard_map(program, mesh=mesh, in_specs=jax.P(), out_specs=jax.P(), **ways)
    return program, PARAMS, jax.device_put(XS, sharding)
