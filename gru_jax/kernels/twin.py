"""The kernel's functions in JAX: the loop, its tangent, and the tangent's transpose.

Arguments and results are the fields of the tuples in `operands`. Static arguments:

    after       True for the reset="after" form, False for "before"
    reverse     from the last step to the first
    time_axis   the time axis, 0 or 1
    clip        the bound of each state; None for no bound

Others, which only lowering reads, are ignored. Members of an ensemble are mapped over.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.cells.gru import Drive, GRUGates, gru, pack, project
from gru_jax.cells.gru_derivative import saturate
from gru_jax.cells.gru_params import GRUParams
from gru_jax.cells.params import split_rows
from gru_jax.kernels.operands import (
    Gradients,
    Inputs,
    Outputs,
    Saved,
    Tangents,
    as_given,
    over_members,
    time_major,
)
from gru_jax.kernels.precision import exact_on_gpus
from gru_jax.ops.products import columns, matmul
from gru_jax.recurrence.boundaries import Boundaries, enter
from gru_jax.recurrence.loop import run
from gru_jax.recurrence.tangent import Plan, states_before
from gru_jax.recurrence.tangent import tangent as state_tangent

each_member = partial(over_members, at_once=True)


@each_member
@exact_on_gpus
def forward(
    *operands: Array,
    after: bool,
    reverse: bool,
    time_axis: int,
    clip: float | None,
    keep: bool,
    **_others: Any,
) -> Sequence[Array]:
    """Returns `Outputs` from `Inputs`; without `keep`, only the states."""
    inputs = time_major(Inputs(*operands), time_axis)
    params = GRUParams(*(getattr(inputs, name) for name in GRUParams._fields))
    boundaries = Boundaries(inputs.valid, inputs.resets, h_reset=inputs.h_reset)
    drive = project(params, inputs.xs)
    plan = _plan(after, reverse, clip)
    hs, kept = run(plan, keep, pack(params), drive, inputs.h0, boundaries)
    outputs = as_given(Outputs(hs, *kept), time_axis, hs.dtype)
    return outputs if keep else outputs[:1]


@each_member
@exact_on_gpus
def tangent(
    *operands: Array, after: bool, reverse: bool, time_axis: int, clip: float | None, **_others: Any
) -> Array:
    """Returns the tangent of the states from `Saved` and `Tangents`, linear in the latter.

    More operands may follow: the tangents of a_r, a_z, a_c and q, the first in `Gradients`.
    """
    first, last = len(Saved._fields), len(Saved._fields) + len(Tangents._fields)
    saved = time_major(Saved(*operands[:first]), time_axis)
    d = time_major(Tangents(*operands[first:last]), time_axis)

    def given(d: Any, a: Any) -> Any:
        return jnp.zeros_like(a) if d is None and a is not None else d

    params = _params(saved, after)
    dparams = GRUParams(*(given(getattr(d, n), a) for n, a in params._asdict().items()))
    _, ddrive = jax.jvp(project, (params, saved.xs), (dparams, given(d.xs, saved.xs)))
    if nudges := operands[last:]:
        r, z, c, q, *_ = time_major(Gradients(*nudges), time_axis)
        c = c if q is None else c + saved.r * q
        ddrive = jax.tree.map(jnp.add, ddrive, Drive(r, z, c))
    linear = _linearize(saved, after, reverse, clip)
    dstates = given(d.h0, saved.h0), given(d.h_reset, saved.h_reset)
    return jnp.moveaxis(linear(pack(dparams), ddrive, *dstates), 0, time_axis)


@each_member
@exact_on_gpus
def backward(
    *operands: Array,
    after: bool,
    reverse: bool,
    time_axis: int,
    clip: float | None,
    products: bool,
    inputs: bool,
    **_others: Any,
) -> Sequence[Array]:
    """Returns `Gradients` from `Saved` and the gradient of the states.

    `products` adds the gradients of weights and biases, `inputs` the gradients of the inputs.
    """
    *kept, dhs = operands
    saved = time_major(Saved(*kept), time_axis)
    params = _params(saved, after)
    zeros = pack(jax.tree.map(jnp.zeros_like, params))
    linear = partial(_linearize(saved, after, reverse, clip), zeros)
    like = Drive(saved.r, saved.z, saved.c), saved.h0, saved.h_reset
    transposed = jax.linear_transpose(linear, *like)
    a, h0, h_reset = transposed(jnp.moveaxis(dhs, time_axis, 0))
    q = a.c * saved.r if after else None
    gradients = Gradients(a.r, a.z, a.c, q, h0, h_reset)
    if inputs:
        ways = (a.r, params.W_r), (a.z, params.W_z), (a.c, params.W_c)
        xs = [matmul(d, split_rows(W)[0].T) for d, W in ways]
        gradients = gradients._replace(xs=xs[0] + xs[1] + xs[2])
    if products:
        gradients = _multiply(saved, gradients, reverse)
    return as_given(gradients, time_axis, h0.dtype)


@each_member
@exact_on_gpus
def multiply(*operands: Array, reverse: bool, time_axis: int) -> Sequence[Array]:
    """Returns the gradients of weights and biases from `Saved` and a_r, a_z, a_c and q."""
    count = len(Saved._fields)
    saved = time_major(Saved(*operands[:count]), time_axis)
    gradients = time_major(Gradients(*operands[count:]), time_axis)
    gradients = _multiply(saved, gradients, reverse)
    return as_given(gradients, time_axis, saved.h0.dtype)[-7:]


def _multiply(saved: Saved, gradients: Gradients, reverse: bool) -> Gradients:
    a_r, a_z, a_c, q = gradients[:4]
    x, h = columns(saved.xs), _seen(saved, reverse)
    joint = jnp.concatenate([x, columns(h)])

    def product(columns: Array, a: Array) -> Array:
        return matmul(columns, a.reshape(columns.shape[1], a.shape[-1]))

    def total(a: Array) -> Array:
        return a.reshape(-1, a.shape[-1]).sum(0)

    if q is None:
        W_c = product(jnp.concatenate([x, columns(saved.r * h)]), a_c)
    else:
        W_c = jnp.concatenate([product(x, a_c), product(columns(h), q)])
    return gradients._replace(
        W_r=product(joint, a_r),
        W_z=product(joint, a_z),
        W_c=W_c,
        b_r=total(a_r),
        b_z=total(a_z),
        b_c=total(a_c),
        b_h=None if q is None else total(q),
    )


def _plan(after: bool, reverse: bool, clip: float | None = None) -> Plan:
    fast = gru(1, reset="after" if after else "before", clip=clip).fast
    assert fast is not None
    return Plan(fast, reverse, keep=True, turns=1)


def _params(saved: Saved, after: bool) -> GRUParams:
    """Returns the parameters, with zeros for biases, because no derivative needs their values."""
    W_r, W_z, W_c = saved.W_r, saved.W_z, saved.W_c
    b = jnp.zeros_like(W_r[0])
    return GRUParams(W_r, b, W_z, b, W_c, b, b if after else None)


def _linearize(
    saved: Saved, after: bool, reverse: bool, clip: float | None
) -> Callable[..., Array]:
    """Returns the states' tangent, as a function of the tangents of weights, drive, h0, h_reset."""
    boundaries = Boundaries(saved.valid, saved.resets, h_reset=saved.h_reset)
    seen = _seen(saved, reverse)
    gates = GRUGates(saved.r, saved.z, saved.c, saved.q)
    if clip is not None:
        # From the states, as the compiled code does: at the bound the gates may round otherwise.
        gates = saturate(gates, jnp.abs(saved.hs) < clip)
    values = gates, seen, seen
    weights = pack(_params(saved, after))
    return partial(state_tangent, _plan(after, reverse), weights, values, boundaries)


def _seen(saved: Saved, reverse: bool) -> Array:
    """Returns the state that each step reads."""
    boundaries = Boundaries(saved.valid, saved.resets, h_reset=saved.h_reset)
    return enter(boundaries, states_before(reverse, saved.h0, saved.hs))[0]
