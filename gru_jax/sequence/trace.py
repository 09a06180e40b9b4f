"""The trace of a run: the values of its gates at every step.

Gates are functions of the input and of the state before the step. So they are computed from the
states after the loop, for all steps at once. `schedule.run` runs the same loop.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.recurrence.boundaries import Boundaries, enter, select
from gru_jax.recurrence.tangent import states_before
from gru_jax.sequence.call import Call
from gru_jax.sequence.mesh import on_mesh
from gru_jax.sequence.options import Program
from gru_jax.sequence.schedule import begin, walk
from gru_jax.types import Key, Params, State, Trace


@partial(jax.jit, static_argnums=0)
@on_mesh(over_time=True)
def record(
    program: Program,
    params: Params,
    xs: Array,
    h0: State,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Any, ...]:
    """Returns the gates, the states after and before each step, and x, zero in padding."""
    axis, time = program.time_axis, xs.shape[program.time_axis]
    if time == 0:  # Adds one padded step, cut off at the end.
        longer = [(0, i == axis) for i in range(xs.ndim)]
        xs, valid, resets = jax.tree.map(
            lambda a: jnp.pad(a, longer[: a.ndim]), (xs, boundaries.valid, boundaries.resets)
        )
        boundaries = boundaries._replace(valid=valid, resets=resets)
    shared, h0, steps = begin(program, 0, params, xs, h0, boundaries, key)
    options = program.options._replace(memory="gates")
    front = program._replace(time_axis=0, options=options)
    xs, boundaries, hs = walk(front, shared, h0, steps)
    seen, before = enter(boundaries, states_before(program.reverse, h0, hs))
    fast, gates = program.fast, None
    if fast.gates != fast.step:  # Otherwise the step has no parts, and no gates.
        drive = fast.project(shared.params, xs)
        gates = jax.vmap(fast.gates, (None, 0, 0))(shared.weights, drive, seen)
    arrays = gates, hs, before, xs
    if (valid := boundaries.valid) is not None:
        arrays = jax.tree.map(lambda a: select(valid, a, 0), arrays)
    return jax.tree.map(lambda a: jnp.moveaxis(a[:time], 0, axis), arrays)


def trace_call(call: Call) -> Trace:
    """Returns the trace of a checked call."""
    gates, h, h_before, x = record(*call[:-1])
    program, valid = call.program, call.boundaries.valid
    if valid is None:
        valid = jnp.ones(x.shape[: program.axes], bool)
    return Trace(gates, h, h_before, x, valid)
