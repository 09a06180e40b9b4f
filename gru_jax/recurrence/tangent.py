"""The derivative of all states at once, as one linear recurrence.

    dh_t = leave(propagate(enter(dh_{t-1})) + source_t)

It is the solution x of a linear system A x = source, bidiagonal in time. Forward mode solves it
from the first step to the last, reverse mode solves A^T x = dL/dh from the last to the first;
`custom_linear_solve` does the rest: batching, transposing, differentiating again. So one rule gives
every mode, the backward loop carries the state's gradient alone, and all that belongs to the
weights is one product over all steps outside the loop.

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
    """A cell's functions, and how to run them: all that is static."""

    fast: Fast
    reverse: bool
    keep: bool
    """Keep the gates for the derivative; else they are computed again from the states."""
    turns: int

    @property
    def derivative(self) -> LinearRecurrence:
        """Returns the cell's derivative."""
        assert self.fast.derivative is not None
        return self.fast.derivative


def tangent(
    plan: Plan,
    weights: PyTree[Array],
    values: tuple[PyTree[Array], Array, Array],
    boundaries: Boundaries,
    dweights: PyTree[Array],
    ddrive: PyTree[Array],
    dh0: Array,
    dh_reset: Array | None,
) -> Float[Array, "*steps hidden"]:
    """Returns the derivative of all states; `values` are the gates, `seen` and `h` of all steps."""
    gates, seen, h = values
    # For all steps here, and step by step again in the loop: a few products of numbers that are at
    # hand take less time than arrays of coefficients, written and read.
    k = plan.derivative.coefficients(gates, seen, h)
    source = plan.derivative.source(weights, k, seen, dweights, ddrive)
    source = leave(boundaries, jnp.zeros_like(source), source)
    return _solve(plan, weights, values, boundaries, (dh0, dh_reset, source))


def time_of(turn: Array, time: int, backwards: bool) -> Array:
    """Returns the step that a turn of the loop is at."""
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
    boundaries: Boundaries,
    source: tuple[Array, Array | None, Array],
) -> Float[Array, "*steps hidden"]:
    """Returns the derivative of all states from those of h0 and h_reset and the source."""
    *_, b = source
    time, dtype = b.shape[0], b.dtype

    def propagate(weights, values, boundaries, x_reset, x):
        seen, x = enter(boundaries._replace(h_reset=x_reset), x)
        k = jax.tree.map(lambda a: a.astype(x.dtype), plan.derivative.coefficients(*values))
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
        # Transposed once, before the loop, and out of XLA's sight: with a transposed view the loop
        # takes more than twice as long at batch 1.
        turned = jax.tree.map(
            lambda a: Transposed(jax.lax.optimization_barrier(a.T)) if a.ndim == 2 else a, weights
        )

        def body(turn, carry):
            # What has arrived at x is read from the buffer that x has just gone into, so that XLA
            # sees one chain of uses and copies nothing.
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
    """Returns the arrays, each depending on all of them as far as JAX can see.

    The solver wants its whole right side to be linear in what is differentiated, even if that is
    one array of it. XLA sees through this and computes nothing.
    """
    some = sum(a.ravel()[:1].sum() for a in jax.tree.leaves(arrays))
    return jax.tree.map(lambda a: jnp.where(False, jnp.broadcast_to(some, a.shape), a), arrays)
