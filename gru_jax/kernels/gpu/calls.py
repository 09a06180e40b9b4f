"""The JAX code around the GPU kernel: input products, and gradients of inputs and weights.

    forward     xs W_x --kernel--> states, gates
    backward    gradient of the states --kernel--> gradients of the gates --> of xs and the weights

Takes and returns the same as `twin`. Each member of an ensemble is one launch. Products are in
float32, unless the user has set `jax_default_matmul_precision`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.cells.params import split_rows
from gru_jax.kernels.gpu import compiler, library
from gru_jax.kernels.operands import (
    Gradients,
    Inputs,
    Outputs,
    Saved,
    absent,
    is_absent,
    over_members,
)
from gru_jax.kernels.precision import exact_on_gpus
from gru_jax.kernels.primitives import like

VALID, RESET_NEXT, RESET = 1, 2, 4
"""The flags of a step, as in problem.h."""

each_member = partial(over_members, at_once=False)

GIVEN = ("W_r", "W_z", "W_c", "hs", "h0", "flags", "h_reset", "r", "z", "c", "q", "dhs")
"""The operands of the backward kernel, in order. It returns the first fields of `Gradients`."""


@each_member
@exact_on_gpus
def forward(
    *operands: Array,
    after: bool,
    reverse: bool,
    time_axis: int,
    clip: float | None,
    keep: bool,
    **_: Any,
) -> Sequence[Array]:
    """Returns `Outputs` from `Inputs`; without `keep`, only the states."""
    inputs = Inputs(*operands)
    weights = [split_rows(W) for W in (inputs.W_r, inputs.W_z, inputs.W_c)]
    drive = _product(inputs.xs, jnp.concatenate([of_xs for of_xs, _ in weights], axis=1))
    flags, h0 = _entries(inputs, reverse, time_axis)
    xs = jax.typeof(inputs.xs)
    steps, none = like(xs, (*xs.shape[:2], h0.shape[1])), like(xs, (0,))
    results = Outputs(steps, *[steps if keep else none] * 3, q=steps if keep and after else none)
    outputs = jax.ffi.ffi_call(library.FORWARD, results)(
        drive,
        jnp.stack([of_state.T for _, of_state in weights]),
        inputs.b_r,
        inputs.b_z,
        inputs.b_c,
        inputs.b_h,
        h0,
        flags,
        inputs.h_reset,
        keep=keep,
        **_attributes("forward", h0, after, reverse, time_axis, clip),
    )
    return outputs if keep else outputs[:1]


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
    **_: Any,
) -> Sequence[Array]:
    """Returns `Gradients` from `Saved` and the gradient of the states."""
    *kept, dhs = operands
    saved = Saved(*kept)
    flags, h0 = _entries(saved, reverse, time_axis)
    given = saved._asdict() | {"flags": flags, "h0": h0, "dhs": dhs}
    none = absent(dhs.dtype)
    results = [dhs, dhs, dhs, dhs if after else none, h0, saved.h_reset]
    # Gradients overwrite the gates, except r with reset="before": the gradient of W_c reads it.
    over = {"z": "a_z", "c": "a_c"} | ({"r": "a_r", "q": "q"} if after else {})
    places = {GIVEN.index(i): Gradients._fields.index(o) for i, o in over.items()}
    call = jax.ffi.ffi_call(
        library.BACKWARD, list(map(jax.typeof, results)), input_output_aliases=places
    )
    ways = _attributes("backward", h0, after, reverse, time_axis, clip)
    found = call(*(given[name] for name in GIVEN), **ways)
    later = Gradients._fields[len(found) :]
    gradients = Gradients(*found, **dict.fromkeys(later, none))
    if not is_absent(saved.resets):
        # If the first step resets, the gradient of its state belongs to h_reset, not h0.
        begins = _first(saved.resets, reverse, time_axis)[:, None]
        h_reset = gradients.h_reset + jnp.where(begins, gradients.h0, 0)
        h0 = jnp.where(begins, 0, gradients.h0)
        gradients = gradients._replace(h0=h0, h_reset=h_reset)
    if inputs:
        pairs = zip(gradients[:3], (saved.W_r, saved.W_z, saved.W_c), strict=True)
        r, z, c = (_product(a, split_rows(W)[0].T) for a, W in pairs)
        gradients = gradients._replace(xs=r + z + c)
    return _multiply(saved, gradients, after, reverse, time_axis) if products else gradients


def _multiply(
    saved: Saved, gradients: Gradients, after: bool, reverse: bool, time_axis: int
) -> Gradients:
    """Adds the gradients of weights and biases."""
    h = _seen(saved, reverse, time_axis)
    a_r, a_z, a_c, q = gradients[:4]
    # The reset gate acts on the state or, with reset="after", on its product with U_c.
    of_c = (h, q) if after else (saved.r * h, a_c)
    ways = {"W_r": (a_r, h, a_r), "W_z": (a_z, h, a_z), "W_c": (a_c, *of_c)}
    weights = {
        name: jnp.concatenate([_sum_of_products(saved.xs, a), _sum_of_products(state, b)])
        for name, (a, state, b) in ways.items()
    }
    biases = {"b_r": a_r, "b_z": a_z, "b_c": a_c} | ({"b_h": q} if after else {})
    sums = {name: a.sum((0, 1)) for name, a in biases.items()}
    return gradients._replace(**weights, **sums)


def _seen(saved: Saved, reverse: bool, time_axis: int) -> Array:
    """Returns the state that each step reads."""
    before = _shift(saved.hs, jnp.expand_dims(saved.h0, time_axis), not reverse, time_axis)
    if is_absent(saved.resets):
        return before
    new = jnp.expand_dims(saved.h_reset, time_axis)
    return jnp.where(saved.resets[..., None], new, before)


def _entries(given: Inputs | Saved, reverse: bool, time_axis: int) -> tuple[Array, Array]:
    """Returns each step's flags (absent without padding and resets), and the state read first."""
    valid, resets, h0 = given.valid, given.resets, given.h0
    if is_absent(valid) and is_absent(resets):
        return absent(jnp.int32), h0
    flags = jnp.int32(VALID) if is_absent(valid) else VALID * valid.astype(jnp.int32)
    if not is_absent(resets):
        first = _first(resets, reverse, time_axis)
        end = jnp.zeros_like(jnp.expand_dims(first, time_axis))
        ahead = _shift(resets, end, reverse, time_axis)
        flags = flags + RESET_NEXT * ahead.astype(jnp.int32) + RESET * resets.astype(jnp.int32)
        h0 = jnp.where(first[:, None], given.h_reset, h0)
    return flags, h0


def _first(resets: Array, reverse: bool, time_axis: int) -> Array:
    """Returns the resets of the step that runs first."""
    return jax.lax.index_in_dim(resets, -1 if reverse else 0, time_axis, keepdims=False)


def _shift(a: Array, end: Array, later: bool, time_axis: int) -> Array:
    """Shifts `a` one step later or earlier in time, and fills the gap with `end`."""
    time = a.shape[time_axis]
    if later:
        rest = jax.lax.slice_in_dim(a, 0, time - 1, axis=time_axis)
        return jnp.concatenate([end, rest], time_axis)
    rest = jax.lax.slice_in_dim(a, 1, time, axis=time_axis)
    return jnp.concatenate([rest, end], time_axis)


def _product(a: Array, W: Array) -> Array:
    """Returns the product of the last axis of `a` with W."""
    return jax.lax.dot_general(a, W, (((a.ndim - 1,), (0,)), ((), ())))


def _sum_of_products(a: Array, b: Array) -> Array:
    """Returns a^T b, summed over steps and rows."""
    return jax.lax.dot_general(a, b, (((0, 1), (0, 1)), ((), ())))


def _attributes(
    way: compiler.Pass,
    h0: Array,
    after: bool,
    reverse: bool,
    time_axis: int,
    clip: float | None,
) -> dict[str, Any]:
    image = library.make_image(way, h0.shape[1], after)
    return {
        "after": after,
        "reverse": reverse,
        "time_axis": np.int64(time_axis),
        "clip": np.float32(np.inf if clip is None else clip),
        "width": np.int64(image.width),
        "image": np.frombuffer(image.code, np.uint8),
        "name": image.name,
        "key": np.int64(image.key),
    }
