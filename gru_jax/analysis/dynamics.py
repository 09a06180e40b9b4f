"""The recurrence over many steps: how far gradients travel, and how fast states forget.

    gradient_norms       |dL/dh_t|, the gradient that reaches a state from all later steps
    lyapunov_exponent    how fast two nearly equal states diverge, or converge

Both describe the recurrence alone, in evaluation and without zoneout.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from gru_jax.architecture import bind
from gru_jax.layers.trace import trace
from gru_jax.ops.products import wide
from gru_jax.recurrence.boundaries import select
from gru_jax.sequence.call import prepare, split_arguments
from gru_jax.sequence.checks import input_of
from gru_jax.sequence.unroll import unroll
from gru_jax.types import ArrayLike, Cell, Key, Params, Shape, State, Trace


def gradient_norms(
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    loss_fn: Callable[[Array, Array], Float[Array, ""]],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    reverse: bool = False,
) -> Float[Array, "*batch time"]:
    """Returns |dL/dh_t| for every step: how far the gradient travels through time.

    dL/dh_t is the total gradient, directly and through later states; the norm is over units. Back
    in time, a norm that shrinks at each step vanishes, and a norm that grows explodes.

    Args:
        cell: the recurrence; its inputs and states have one axis of features.
        params: its parameters.
        xs: the inputs; of a cell inside a net, the `x` of its trace.
        loss_fn: `(hs, h_last) -> loss`, a function of `unroll`'s results. A sum over the batch
            keeps sequences separate; a mean divides the gradients by the number of sequences.
        h0: as in `unroll`; so are the next four.
        lengths: steps at and after a sequence's length are padding.
        mask: False steps are padding.
        resets: True steps begin a new segment, and no gradient crosses into the segment before.
        reverse: run from the last step to the first.

    Returns:
        The norms, in units of the loss (per unit of the state), zero in padding.

    References:
        Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural
        networks", eqs. 3-5.
    """
    steps = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    xs = _check("gradient_norms", cell, params, xs, h0, **steps)
    hs = jax.eval_shape(lambda: unroll(cell, params, xs, h0, **steps)[0])
    # The nudged cell's extra inputs are added to the state after each step.
    nudged_cell = Cell(
        init=cell.init,
        initial_state=bind(_nudged_initial_state, cell, xs.shape[-1]),
        step=bind(_nudged_step, cell, xs.shape[-1]),
    )

    def loss(nudges: Array) -> Array:
        nudged = jnp.concatenate([xs, nudges], -1)
        return loss_fn(*unroll(nudged_cell, params, nudged, h0, backend="xla", **steps))

    gradients = jax.grad(loss)(jnp.zeros(hs.shape, hs.dtype))
    # The squares of a gradient underflow and overflow long before its values do.
    largest = jnp.abs(gradients).max(-1, keepdims=True)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return (scale * _norm(gradients / scale))[..., 0]


def _nudged_initial_state(cell: Cell, size: int, params: Params, x_shape: Shape) -> State:
    return cell.initial_state(params, (*x_shape[:-1], size))


def _nudged_step(cell: Cell, size: int, params: Params, x: Array, h: Array) -> Array:
    return cell.step(params, x[..., :size], h) + x[..., size:]


def lyapunov_exponent(
    key: Key,
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    reverse: bool = False,
    burn_in: int = 0,
) -> Float[Array, "*batch"]:
    """Returns the largest Lyapunov exponent of the recurrence under these inputs, in nats a step.

    Two nearly equal states are exp(lambda n) times as far apart n steps later. A small difference u
    moves along with the states, and is normalised at each step:

        v_t = J_t u_{t-1},  u_t = v_t / |v_t|,  J_t = dh_t/dh_{t-1},  lambda = mean_t log |v_t|

    Below 0 the network forgets its initial state, and gradients vanish. Above 0 it is chaotic, and
    gradients explode. Near 0 it can learn long dependencies.

    Args:
        key: draws the direction of the first difference.
        cell: the recurrence.
        params: its parameters.
        xs: the inputs; of a cell inside a net, the `x` of its trace. The exponent is a limit over
            infinitely many steps, so more steps estimate it better.
        h0: as in `unroll`.
        lengths: steps at and after a sequence's length are padding and are not counted.
        mask: False steps are padding.
        reverse: run from the last step to the first.
        burn_in: the number of first steps that are not counted, while u aligns with its direction.

    Returns:
        One exponent for each sequence; NaN if no step is counted, -inf if the difference becomes
        exactly zero.

    Raises:
        ValueError: if `burn_in` is negative.

    References:
        Benettin et al. (1980), "Lyapunov characteristic exponents for smooth dynamical systems";
        Engelken, Wolf and Abbott (2023), "Lyapunov spectra of chaotic recurrent neural networks";
        on gated networks, Vogt et al. (2022), "On Lyapunov exponents for RNNs", and Krishnamurthy,
        Can and Schwab (2022), "Theory of gating in recurrent neural networks".
    """
    steps = {"lengths": lengths, "mask": mask, "reverse": reverse}
    _check("lyapunov_exponent", cell, params, xs, h0, **steps)
    if burn_in < 0:
        raise ValueError(f"lyapunov_exponent: burn_in must be 0 or more, got {burn_in}.")
    states = trace(cell, params, xs, h0, **steps)
    return _mean_growth(cell.step, reverse, burn_in, key, params, states)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _mean_growth(
    step: Callable[[Params, Array, Array], Array],
    reverse: bool,
    burn_in: int,
    key: Key,
    params: Params,
    states: Trace,
) -> Float[Array, "*batch"]:
    """Returns the mean log growth of a difference along the trace."""
    time = states.valid.ndim - 1
    taken = jax.lax.cumsum(states.valid.astype(jnp.int32), axis=time, reverse=reverse)
    counted = states.valid & (taken > burn_in)
    steps = jax.tree.map(
        lambda a: jnp.moveaxis(a, time, 0), (states.x, states.h_before, states.valid, counted)
    )
    dtype = wide(states.h.dtype)

    def body(carry: tuple[Array, Array], at_t: tuple[Array, ...]) -> tuple[tuple, None]:
        u, total = carry
        x, h, valid, counted = at_t
        _, v = jax.jvp(partial(step, params, x), (h,), (u.astype(h.dtype),))
        v = v.astype(dtype)
        growth = _norm(v)
        u = select(valid, jnp.where(growth > 0, v / growth, v), u)
        return (u, total + select(counted, jnp.log(growth[..., 0]), 0)), None

    u = jax.random.normal(key, steps[1].shape[1:], dtype)
    carry = u / _norm(u), jnp.zeros(u.shape[:-1], dtype)
    (_, total), _ = jax.lax.scan(body, carry, steps, reverse=reverse)
    return total / counted.sum(-1).astype(dtype)


def _check(
    function: str, cell: Cell, params: Params, xs: ArrayLike, h0: State | None, **steps: Any
) -> Array:
    """Returns the checked inputs; raises unless inputs and states have one axis of features."""
    if not isinstance(cell, Cell):
        raise ValueError(
            f"{function}: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}. Of a "
            "cell inside a net give its own parameters, and the x of its trace as xs."
        )
    settings, limits, key = split_arguments(function, cell, {"backend": "xla", **steps})
    call = prepare(settings, params, jnp.asarray(xs), h0, limits, key)
    shape = input_of(cell, params).shape
    if len(shape) != 1 or not isinstance(call.h0, jax.Array):
        raise ValueError(
            f"{function}: cell must have inputs and states of one axis of features, "
            f"got {shape} and {jax.tree.structure(call.h0)}."
        )
    return call.xs


def _norm(values: Float[Array, "*batch hidden"]) -> Float[Array, "*batch 1"]:
    return jnp.linalg.norm(values, axis=-1, keepdims=True)
