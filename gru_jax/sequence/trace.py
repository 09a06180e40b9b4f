"""The gate tape: what a run passes through, step by step.

Gates are functions of the input and of the state before the step, so they come after the loop, from
the states, for all steps at once; the loop is that of `loop.run`.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from gru_jax.recurrence.boundaries import enter, select
from gru_jax.recurrence.loop import states_before
from gru_jax.sequence import schedule as loop
from gru_jax.types import Key, Params, State


@partial(jax.jit, static_argnums=0)
@loop.by_rows(over_time=True)
def record(
    how: loop.How,
    params: Params,
    xs: Array,
    h0: State,
    valid: Bool[Array, "*steps"] | None,
    resets: Bool[Array, "*steps"] | None,
    h_reset: State | None,
    key: Key | None,
) -> tuple[PyTree[Array], ...]:
    """Returns r, z, c, the states after and before each step, x and q, zero in padding."""
    time = xs.shape[how.time_axis]
    if time == 0:  # Then a step of padding, cut off at the end.
        longer = [(0, axis == how.time_axis) for axis in range(xs.ndim)]
        xs, valid, resets = jax.tree.map(
            lambda a: jnp.pad(a, longer[: a.ndim]), (xs, valid, resets)
        )
    shared, h0, steps = loop.begin(how, 0, params, xs, h0, valid, resets, h_reset, key)
    how = how._replace(memory="gates")
    xs, bounds, hs = loop.walk(how._replace(time_axis=0), shared, h0, steps)
    seen, before = enter(bounds, states_before(how.reverse, h0, hs))
    gates = jax.vmap(how.gates, (None, 0, 0))(shared.weights, how.project(shared.params, xs), seen)
    r, z, c, q = (getattr(gates, name, None) for name in "rzcq")
    arrays = r, z, c, hs, before, xs, q
    if (valid := bounds.valid) is not None:
        arrays = jax.tree.map(lambda a: select(valid, a, 0), arrays)
    return jax.tree.map(lambda a: jnp.moveaxis(a[:time], 0, how.time_axis), arrays)
