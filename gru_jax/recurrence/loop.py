"""The states of a whole sequence, and their derivative as one linear recurrence.

    h_t  = leave(mix(gates(weights, drive_t, enter(h_{t-1})), h_{t-1}))
    dh_t = leave(propagate(enter(dh_{t-1})) + source_t)

The second line is the solution x of a linear system A x = source, bidiagonal in time. Forward mode
solves it from the first step to the last, reverse mode solves A^T x = dL/dh from the last to the
first; `custom_linear_solve` knows the rest: batching, transposing, differentiating again. So one
rule gives every mode, the backward loop carries the state's gradient alone, and all that belongs
to the weights is one product over all steps outside the loop.

Loops write what they compute over what they have read, as far as shapes allow (the states over the
drive, the gradient of the states over what arrived at them), and XLA copies no buffer in them.

References:
    Blondel et al. (2022), "Efficient and modular implicit differentiation", on derivatives as the
    solution of a linear system.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PyTree

from gru_jax.ops.products import Turned
from gru_jax.recurrence.boundaries import Bounds, at, enter, leave, put
from gru_jax.types import Rule, State

STATES = "gru_jax_states"
"""The name of the states in a checkpoint policy."""


class Plan(NamedTuple):
    """A cell's functions and the way to run them: all that is static."""

    gates: Callable[..., PyTree[Array]]
    mix: Callable[..., Array]
    rule: Rule
    reverse: bool
    keep: bool
    """Keep the gates for the derivative; else they are computed again from the states."""
    turns: int


def states(
    plan: Plan, weights: PyTree[Array], drive: PyTree[Array], h0: Array, bounds: Bounds
) -> Float[Array, "*steps hidden"]:
    """Returns the state after each step, carried through padding."""
    return run(plan, False, weights, drive, h0, bounds)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def run(
    plan: Plan, keep: bool, weights: PyTree[Array], drive: PyTree[Array], h0: Array, bounds: Bounds
) -> tuple[Array, PyTree[Array]]:
    """Returns the states and, if they are to be kept, the gates."""

    def step(h: Array, drive_t: PyTree[Array], bounds_t: Bounds) -> tuple[PyTree[Array], Array]:
        seen, h = enter(bounds_t, h)
        gates = plan.gates(weights, drive_t, seen)
        return gates if keep else (), leave(bounds_t, h, plan.mix(gates, h))

    buffers, tree = jax.tree.flatten(drive)
    time, slots = buffers[0].shape[0], []
    first = jax.eval_shape(lambda: step(h0, jax.tree.map(lambda a: at(a, 0), drive), bounds.at(0)))
    results, made = jax.tree.flatten(first)
    for i, result in enumerate(results):
        # Where the drive was, as far as shapes allow, and the rest in buffers of their own.
        like = (time, *result.shape), result.dtype
        fits = i < tree.num_leaves and (buffers[i].shape, buffers[i].dtype) == like
        slots.append(i if fits else len(buffers))
        if not fits:
            # Made of h0, so that on a mesh it varies over the devices as the states do.
            some = h0.ravel()[:1].sum().astype(result.dtype)
            buffers.append(jnp.where(False, jnp.broadcast_to(some, like[0]), 0))

    def body(turn: Array, carry: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        h, buffers = carry
        t = _time_of(turn, time, plan.reverse)
        drive_t = jax.tree.unflatten(tree, [at(b, t) for b in buffers[: tree.num_leaves]])
        gates, h = step(h, drive_t, bounds.at(t))
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
    weights, drive, h0, bounds = primals
    dweights, ddrive, dh0, dbounds = tangents
    hs, gates = run(plan, plan.keep or keep, *primals)
    hs = checkpoint_name(hs, STATES)
    seen, h = enter(bounds, states_before(plan.reverse, h0, hs))
    if not (plan.keep or keep):
        gates = plan.gates(weights, drive, seen)
    values = gates, seen, h
    dhs = tangent(plan, weights, values, bounds, dweights, ddrive, dh0, dbounds.h_reset)
    if not keep:
        return (hs, ()), (dhs, ())
    dseen, _ = enter(
        bounds._replace(h_reset=dbounds.h_reset), states_before(plan.reverse, dh0, dhs)
    )
    _, dgates = jax.jvp(plan.gates, (weights, drive, seen), (dweights, ddrive, dseen))
    return (hs, gates), (dhs, dgates)


def tangent(
    plan: Plan,
    weights: PyTree[Array],
    values: tuple[PyTree[Array], Array, Array],
    bounds: Bounds,
    dweights: PyTree[Array],
    ddrive: PyTree[Array],
    dh0: Array,
    dh_reset: Array | None,
) -> Float[Array, "*steps hidden"]:
    """Returns the derivative of all states; `values` are the gates, `seen` and `h` of all steps."""
    gates, seen, h = values
    # For all steps here, and step by step again in the loop: a few products of numbers that are at
    # hand take less time than arrays of coefficients, written and read.
    k = plan.rule.coefficients(gates, seen, h)
    source = plan.rule.source(weights, k, seen, dweights, ddrive)
    source = leave(bounds, jnp.zeros_like(source), source)
    return _solve(plan, weights, values, bounds, (dh0, dh_reset, source))


def _time_of(turn: Array, time: int, backwards: bool) -> Array:
    return time - 1 - turn if backwards else turn


def states_before(reverse: bool, h0: State, hs: PyTree[Array]) -> PyTree[Array]:
    """Returns the state before each step from those after it."""

    def one(h0: Array, hs: Array) -> Array:
        return jnp.concatenate([hs[1:], h0[None]] if reverse else [h0[None], hs[:-1]])

    return jax.tree.map(one, h0, hs)


def _solve(
    plan: Plan,
    weights: PyTree[Array],
    values: tuple[PyTree[Array], Array, Array],
    bounds: Bounds,
    source: tuple[Array, Array | None, Array],
) -> Float[Array, "*steps hidden"]:
    """Returns the derivative of all states from those of h0 and h_reset and the source."""
    *_, b = source
    time, dtype, wide = b.shape[0], b.dtype, jnp.promote_types(b.dtype, jnp.float32)

    def propagate(weights, values, bounds, x_reset, x):
        seen, x = enter(bounds._replace(h_reset=x_reset), x)
        return leave(
            bounds, x, plan.rule.propagate(weights, plan.rule.coefficients(*values), seen, x)
        )

    def matvec(system):
        x0, x_reset, xs = system
        before = states_before(plan.reverse, x0, xs)
        return _tie((x0, x_reset, xs - propagate(weights, values, bounds, x_reset, before)))

    def solve(_, system):
        x0, x_reset, bs = system

        def body(turn, carry):
            x, bs = carry
            t = _time_of(turn, time, plan.reverse)
            values_t = jax.tree.map(lambda a: at(a, t), values)
            x = propagate(weights, values_t, bounds.at(t), x_reset, x) + at(bs, t)
            return x, put(bs, x, t)

        _, xs = jax.lax.fori_loop(0, time, body, (x0, bs), unroll=plan.turns)
        return x0, x_reset, xs

    def transpose_solve(_, system):
        x0, x_reset, cs = system
        # Transposed once, before the loop, and out of XLA's sight: with a transposed view the loop
        # takes more than twice as long at batch 1.
        turned = jax.tree.map(
            lambda a: Turned(jax.lax.optimization_barrier(a.T)) if a.ndim == 2 else a, weights
        )

        def body(turn, carry):
            # What has arrived at x is read from the buffer that x has just gone into, so that XLA
            # sees one chain of uses and copies nothing.
            x, of_reset, cs = carry
            t = _time_of(turn, time, not plan.reverse)
            t_next = _time_of(jnp.minimum(turn + 1, time - 1), time, not plan.reverse)
            cs = put(cs, x, t)
            values_t = jax.tree.map(lambda a: at(a, t), values)
            step = partial(propagate, turned, values_t, bounds.at(t))
            more, x = jax.linear_transpose(step, x_reset, x)(x)
            of_reset = jax.tree.map(jnp.add, of_reset, more)
            return x + jnp.where(turn + 1 < time, at(cs, t_next), 0), of_reset, cs

        first = cs[0 if plan.reverse else -1]
        carry = first, jax.tree.map(jnp.zeros_like, x_reset), cs
        x, of_reset, xs = jax.lax.fori_loop(0, time, body, carry, unroll=plan.turns)
        return x0 + x, jax.tree.map(jnp.add, x_reset, of_reset), xs

    system = _tie(jax.tree.map(lambda a: a.astype(wide), source))
    return jax.lax.custom_linear_solve(matvec, system, solve, transpose_solve)[2].astype(dtype)


def _tie(arrays: PyTree[Array]) -> PyTree[Array]:
    """Returns the arrays, each depending on all of them as far as JAX can see.

    The solver wants its whole right side to be linear in what is differentiated, even if that is
    one array of it. XLA sees through this and computes nothing.
    """
    some = sum(a.ravel()[:1].sum() for a in jax.tree.leaves(arrays))
    return jax.tree.map(lambda a: jnp.where(False, jnp.broadcast_to(some, a.shape), a), arrays)
