"""The states of a whole sequence, step by step.

    h_t = leave(mix(gates(weights, drive_t, enter(h_{t-1})), h_{t-1}))

`states` has the derivative of `tangent`; `scan_states` is plain autodiff through `lax.scan`. Where
shapes allow, the loop overwrites its inputs with its results, and XLA copies no buffer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PyTree

from gru_jax.recurrence.boundaries import Boundaries, at, check_state, enter, leave, put
from gru_jax.recurrence.tangent import Plan, states_before, tangent, time_of
from gru_jax.types import Fast, State

STATES = "gru_jax_states"
"""The name of the states in a checkpoint policy."""


def states(
    plan: Plan, weights: PyTree[Array], drive: PyTree[Array], h0: Array, boundaries: Boundaries
) -> Float[Array, "*steps hidden"]:
    """Returns the state after each step, carried through padding."""
    return run(plan, False, weights, drive, h0, boundaries)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def run(
    plan: Plan,
    keep: bool,
    weights: PyTree[Array],
    drive: PyTree[Array],
    h0: Array,
    boundaries: Boundaries,
) -> tuple[Array, PyTree[Array]]:
    """Returns the states, and the gates if `keep`."""

    def step(
        h: Array, drive_t: PyTree[Array], boundaries_t: Boundaries
    ) -> tuple[PyTree[Array], Array]:
        seen, h = enter(boundaries_t, h)
        gates = plan.fast.gates(weights, drive_t, seen)
        return gates if keep else (), leave(boundaries_t, h, plan.fast.mix(gates, h))

    buffers, tree = jax.tree.flatten(drive)
    time, slots = buffers[0].shape[0], []
    first = jax.eval_shape(
        lambda: step(h0, jax.tree.map(lambda a: at(a, 0), drive), boundaries.at(0))
    )
    results, made = jax.tree.flatten(first)
    for i, result in enumerate(results):
        # Results reuse the drive's buffers where shapes allow; the others get new buffers.
        like = (time, *result.shape), result.dtype
        fits = i < tree.num_leaves and (buffers[i].shape, buffers[i].dtype) == like
        slots.append(i if fits else len(buffers))
        if not fits:
            # Computed from h0, so that on a mesh it varies over the devices as the states do.
            some = h0.ravel()[:1].sum().astype(result.dtype)
            buffers.append(jnp.where(False, jnp.broadcast_to(some, like[0]), 0))

    def body(turn: Array, carry: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        h, buffers = carry
        t = time_of(turn, time, plan.reverse)
        drive_t = jax.tree.unflatten(tree, [at(b, t) for b in buffers[: tree.num_leaves]])
        gates, h = step(h, drive_t, boundaries.at(t))
        for slot, result in zip(slots, jax.tree.leaves((gates, h)), strict=True):
            buffers[slot] = put(buffers[slot], result, t)
        return h, buffers

    _, buffers = jax.lax.fori_loop(0, time, body, (h0, buffers), unroll=plan.turns)
    gates, hs = jax.tree.unflatten(made, [buffers[slot] for slot in slots])
    return hs, gates


@run.defjvp
def _run_jvp(
    plan: Plan, keep: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    weights, drive, h0, boundaries = primals
    dweights, ddrive, dh0, dboundaries = tangents
    hs, gates = run(plan, plan.keep or keep, *primals)
    hs = checkpoint_name(hs, STATES)
    seen, h = enter(boundaries, states_before(plan.reverse, h0, hs))
    if not (plan.keep or keep):
        gates = plan.fast.gates(weights, drive, seen)
    values = gates, seen, None if boundaries.drop is None else h
    dhs = tangent(plan, weights, values, boundaries, dweights, ddrive, dh0, dboundaries.h_reset)
    if not keep:
        return (hs, ()), (dhs, ())
    dseen, _ = enter(
        boundaries._replace(h_reset=dboundaries.h_reset), states_before(plan.reverse, dh0, dhs)
    )
    _, dgates = jax.jvp(plan.fast.gates, (weights, drive, seen), (dweights, ddrive, dseen))
    return (hs, gates), (dhs, dgates)


def scan_states(
    fast: Fast,
    weights: PyTree[Array],
    drive: PyTree[Array],
    h0: State,
    boundaries: Boundaries,
    *,
    reverse: bool,
    turns: int,
    remat: bool,
) -> PyTree[Array]:
    """Returns the state after each step, carried through padding, by `lax.scan`.

    Args:
        fast: the cell's functions.
        weights: the packed weights.
        drive: from `fast.project`, with time in front.
        h0: the state before the first step.
        boundaries: with time in front.
        reverse: run from the last step to the first.
        turns: steps in one iteration of the compiled loop.
        remat: recompute each step for its derivative, so that only the states are kept.

    Raises:
        ValueError: if the step's result differs from its state in structure, shape or dtype.
    """

    def body(h: State, step: tuple[PyTree[Array], Array]) -> tuple[State, State]:
        drive_t, t = step
        boundaries_t = boundaries.at(t)
        seen, h = enter(boundaries_t, h)
        h_next = fast.mix(fast.gates(weights, drive_t, seen), h)
        check_state("cell.step", "state", h_next, like=h)
        h = leave(boundaries_t, h, h_next)
        return h, h

    body = jax.checkpoint(body, prevent_cse=False) if remat else body
    steps = drive, jnp.arange(jax.tree.leaves(drive)[0].shape[0])
    return jax.lax.scan(body, h0, steps, reverse=reverse, unroll=turns)[1]
