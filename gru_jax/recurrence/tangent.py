"""The derivative of all states at once, as one linear recurrence.

    dh_t = leave(propagate(enter(dh_{t-1})) + source_t)

This is the solution x of a linear system A x = source, bidiagonal in time. Forward mode solves it
from the first step to the last. Reverse mode solves A^T x = dL/dh from the last step to the first.
`custom_linear_solve` adds batching, transposing and differentiating again. So one rule serves every
mode, and the backward loop carries only the state's gradient. Each weight's gradient is one product
over all steps, outside the loop.

References:
    Blondel et al. (2022), "Efficient and modular implicit differentiation", on derivatives as the
    solution of a linear system.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gru_jax.ops.products import Transposed, wide
from gru_jax.recurrence.boundaries import Boundaries, at, enter, leave, put
from gru_jax.types import Fast, LinearRecurrence, State


class Plan(NamedTuple):
    """The static part of a run: a cell's functions, and how to run them."""

    fast: Fast
    reverse: bool
    keep: bool
    """Keep the gates for the derivative; otherwise they are recomputed from the states."""
    turns: int

    @property
    def derivative(self) -> LinearRecurrence:
        """Returns the cell's derivative."""
        assert self.fast.derivative is not None
        return self.fast.derivative


def tangent(
    plan: Plan,
    weights: PyTree[Array],
    values: tuple[PyTree[Array], Array, Array | None],
    boundaries: Boundaries,
    dweights: PyTree[Array],
    ddrive: PyTree[Array],
    dh0: Array,
    dh_reset: Array | None,
) -> Float[Array, "*steps hidden"]:
    """Returns the derivative of all states.

    `values` are the gates, `seen` and `h` of all steps; a None for `h` means that it is `seen`.
    """
    # Computed for all steps here, and again for each step in the loop: recomputing a few products
    # is faster than writing and reading arrays of coefficients.
    k = _coefficients(plan, *values)
    source = plan.derivative.source(weights, k, values[1], dweights, ddrive)
    source = leave(boundaries, jnp.zeros_like(source), source)
    return _solve(plan, weights, values, boundaries, (dh0, dh_reset, source))


def _coefficients(plan: Plan, gates: PyTree[Array], seen: Array, h: Array | None) -> PyTree[Array]:
    return plan.derivative.coefficients(gates, seen, seen if h is None else h)


def time_of(turn: Array, time: int, backwards: bool) -> Array:
    """Returns the step that an iteration of the loop processes."""
    return time - 1 - turn if backwards else turn


def states_before(reverse: bool, h0: State, hs: PyTree[Array]) -> PyTree[Array]:
    """Returns the state before each step, from the states after each step."""

    def one(h0: Array, hs: Array) -> Array:
        return jnp.concatenate([hs[1:], h0[None]] if reverse else [h0[None], hs[:-1]])

    return jax.tree.map(one, h0, hs)


def _solve(
    plan: Plan,
    weights: PyTree[Array],
    values: tuple[PyTree[Array], Array, Array | None],
    boundaries: Boundaries,
    source: tuple[Array, Array | None, Array],
) -> Float[Array, "*steps hidden"]:
    """Returns the tangents of all states, from the tangents of h0 and h_reset and the source."""
    *_, b = source
    time, dtype = b.shape[0], b.dtype

    def propagate(weights, values, boundaries, x_reset, x):
        seen, x = enter(boundaries._replace(h_reset=x_reset), x)
        k = jax.tree.map(lambda a: a.astype(x.dtype), _coefficients(plan, *values))
        return leave(boundaries, x, plan.derivative.propagate(weights, k, seen, x))

    def matvec(system):
        x0, x_reset, xs = system
        before = states_before(plan.reverse, x0, xs)
        return _tie((x0, x_reset, xs - propagate(weights, values, boundaries, x_reset, before)))

    def solve(_, system):
        x0, x_reset, bs = system

        def body(turn, carry):
            x, bs = carry
            t = time_of(turn, time, plan.reverse)
            values_t = jax.tree.map(lambda a: at(a, t), values)
            x = propagate(weights, values_t, boundaries.at(t), x_reset, x) + at(bs, t)
            return x, put(bs, x, t)

        _, xs = jax.lax.fori_loop(0, time, body, (x0, bs), unroll=plan.turns)
        return x0, x_reset, xs

    def transpose_solve(_, system):
        x0, x_reset, cs = system
        # Transposed once, before the loop, behind a barrier that XLA does not see through: with a
        # transposed view the loop takes more than twice as long at batch 1.
        turned = jax.tree.map(
            lambda a: Transposed(jax.lax.optimization_barrier(a.T)) if a.ndim == 2 else a, weights
        )

        def body(turn, carry):
            # Writes x into the buffer before reading the next cotangent from the same buffer, so
            # that XLA sees one chain of uses and copies nothing.
            x, of_reset, cs = carry
            t = time_of(turn, time, not plan.reverse)
            t_next = time_of(jnp.minimum(turn + 1, time - 1), time, not plan.reverse)
            cs = put(cs, x, t)
            values_t = jax.tree.map(lambda a: at(a, t), values)
            step = partial(propagate, turned, values_t, boundaries.at(t))
            more, x = jax.linear_transpose(step, x_reset, x)(x)
            of_reset = jax.tree.map(jnp.add, of_reset, more)
            return x + jnp.where(turn + 1 < time, at(cs, t_next), 0), of_reset, cs

        first = cs[0 if plan.reverse else -1]
        carry = first, jax.tree.map(jnp.zeros_like, x_reset), cs
        x, of_reset, xs = jax.lax.fori_loop(0, time, body, carry, unroll=plan.turns)
        return x0 + x, jax.tree.map(jnp.add, x_reset, of_reset), xs

    system = _tie(jax.tree.map(lambda a: a.astype(wide(dtype)), source))
    return jax.lax.custom_linear_solve(matvec, system, solve, transpose_solve)[2].astype(dtype)


def _tie(arrays: PyTree[Array]) -> PyTree[Array]:
    """Returns the arrays unchanged, but to JAX each depends on all of them.

    The solver needs its whole right side to be linear in the differentiated arrays, even if only
    one of them is differentiated. XLA removes this dependence and computes nothing.
    """
    some = sum(a.ravel()[:1].sum() for a in jax.tree.leaves(arrays))
    return jax.tree.map(lambda a: jnp.where(False, jnp.broadcast_to(some, a.shape), a), arrays)
