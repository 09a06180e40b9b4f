"""The states of whole sequences by the compiled kernel, for any batch axes.

Importing this module registers the kernel's primitives with JAX.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.cells.gru import StateWeights
from gru_jax.cells.gru_params import GRUParams
from gru_jax.cells.params import split_rows
from gru_jax.kernels import lowering, rules
from gru_jax.kernels.operands import Inputs, absent
from gru_jax.kernels.primitives import forward_p
from gru_jax.recurrence.boundaries import Boundaries, vary_alike

rules.register()
lowering.register()


def reason(kernel: str) -> str | None:
    """Returns why a kernel cannot run on this machine, a sentence; None if it can."""
    return lowering.KERNELS[kernel].reason()


def states(
    kernel: str,
    params: GRUParams,
    xs: Array,
    h0: Array,
    boundaries: Boundaries,
    *,
    reverse: bool,
    time_axis: int,
    clip: float | None,
    required: bool,
) -> Float[Array, "*steps hidden"]:
    """Returns the state after each step, carried through padding, as `loop.states` does.

    Args:
        kernel: the name of the compiled code, "cpu" or "gpu".
        params: the parameters; the form is reset="after" if there is a b_h.
        xs: the inputs, zero in padding.
        h0: the state before the first step.
        boundaries: valid and resets, with the same time axis as xs, and h_reset.
        reverse: run from the last step to the first.
        time_axis: the time axis of xs and of the result, counted from the front. The first axis, or
            the axis just before the features, needs no copy.
        clip: the bound of each state; None for no bound.
        required: raise if the kernel cannot run, rather than run the twin.
    """
    *batch, hidden = h0.shape
    steps = xs, boundaries.valid, boundaries.resets
    middle = 0 < time_axis < len(batch)
    if middle:
        steps = jax.tree.map(lambda a: jnp.moveaxis(a, time_axis, 0), steps)
    first = middle or time_axis == 0
    time, rows = xs.shape[time_axis], math.prod(batch)

    def fold(a: Array, *axes: int) -> Array:
        return a.reshape(*axes, *a.shape[len(batch) + len(axes) - 1 :])

    axes = (time, rows) if first else (rows, time)
    xs, valid, resets = jax.tree.map(lambda a: fold(a, *axes), steps)
    h0, h_reset = jax.tree.map(lambda h: fold(h, rows), (h0, boundaries.h_reset))
    inputs = Inputs(xs, h0=h0, valid=valid, resets=resets, h_reset=h_reset, **params._asdict())
    (hs,) = forward_p.bind(
        *vary_alike(_fill(inputs)),
        after=params.b_h is not None,
        reverse=reverse,
        time_axis=0 if first else 1,
        clip=clip,
        keep=False,
        kernel=kernel,
        required=required,
    )
    hs = hs.reshape(*((time, *batch) if first else (*batch, time)), hidden)
    return jnp.moveaxis(hs, 0, time_axis) if middle else hs


def join(params: GRUParams, weights: StateWeights) -> GRUParams:
    """Returns the parameters with `weights` as the rows that act on the state."""

    def rows(W: Array, U: Array) -> Array:
        return jnp.concatenate([split_rows(W)[0], U])

    return params._replace(
        W_r=rows(params.W_r, weights.U_r),
        W_z=rows(params.W_z, weights.U_z),
        W_c=rows(params.W_c, weights.U_c),
    )


def _fill(inputs: Inputs) -> list[Array]:
    """Returns the operands as arrays, with placeholders for None."""
    dtypes = {"valid": jnp.bool_, "resets": jnp.bool_}
    return [
        absent(dtypes.get(name, inputs.xs.dtype)) if a is None else a
        for name, a in inputs._asdict().items()
    ]
