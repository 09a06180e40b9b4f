"""A run in pieces: the residuals of the derivative, and the parts that are recomputed.

    memory      "gates": gates and states of all steps; "states": only the states; "chunked": the
                state every chunk_size steps. With the last two the derivative goes chunk by chunk.

A backend computes the states of a piece; `run` cuts a sequence into pieces, or takes it whole.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.recurrence.boundaries import Boundaries, entries, select, vary_alike
from gru_jax.recurrence.chunks import chunk_size, in_chunks
from gru_jax.recurrence.loop import STATES
from gru_jax.recurrence.noise import draw_drop, draw_hold, drop_weights
from gru_jax.sequence.backends import BACKENDS
from gru_jax.sequence.mesh import on_mesh
from gru_jax.sequence.options import Program
from gru_jax.types import Key, Params, State

GATES_BYTES, GPU_GATES_BYTES = 2**24, 2**29
"""Up to this many bytes of states, keeping the gates is faster than recomputing them. The second is
for the GPU kernel, which reloads its weights in each chunk. Chosen by arithmetic, not measured."""

LARGE = 2**21
"""Above this many features over all steps, chunks are faster even without a derivative."""

Steps: TypeAlias = tuple[Array, Array | None, Array | None, Array]
"""Inputs, validity, resets and positions, all with time at the same axis."""


# Compiled here too, so that a call outside jit does not trace its loop anew each time.
@partial(jax.jit, static_argnums=0)
@on_mesh((True, False))
def run(
    program: Program,
    params: Params,
    xs: Array,
    h0: State,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[PyTree[Array], State]:
    """Returns the states, zero in padding, and the last state."""
    time, options = xs.shape[program.time_axis], program.options
    if time == 0:
        hs = jax.tree.map(lambda h: jnp.zeros((0, *h.shape), h.dtype), h0)
        return jax.tree.map(lambda h: jnp.moveaxis(h, 0, program.time_axis), hs), h0
    features = sum(leaf.size for leaf in jax.tree.leaves(h0))
    # An exported program may have symbolic sizes: then no choice can depend on the size.
    known = isinstance(time * features, int)
    memory = options.memory
    if memory is None:
        itemsize = jax.tree.leaves(h0)[0].dtype.itemsize
        most = GPU_GATES_BYTES if program.backend == "gpu" else GATES_BYTES
        small = not known or time * features * itemsize <= most
        memory = "gates" if small or program.backend == "scan" else "states"
    whole_sequences, rule = BACKENDS[program.backend].whole, program.fast.derivative
    whole = memory == "gates" if whole_sequences or rule else memory != "chunked"
    # A backend for whole sequences takes time at any axis; loops and chunks need it in front.
    axis = program.time_axis if whole_sequences and whole else 0
    shared, h0, steps = begin(program, axis, params, xs, h0, boundaries, key)
    size = options.chunk_size or (chunk_size(time, features) if known else time)
    size = min(time, size) if isinstance(time, int) else time
    chunked = partial(in_chunks, size=size, reverse=program.reverse)
    program_here = program._replace(time_axis=axis, options=options._replace(memory=memory))
    piece = partial(_piece, program_here)
    if whole:
        # Not with zoneout: with some key types, masks depend on which steps are drawn together.
        large = not whole_sequences and memory == "gates" and known
        large = large and time * features > LARGE and shared.key_hold is None
        run_piece = _with_derivative_of(piece, partial(chunked, piece)) if large else piece
    else:
        # A backend for whole sequences reruns as fast as it resumes from its states.
        names = [STATES] if memory == "states" and not whole_sequences else []
        policy = jax.checkpoint_policies.save_only_these_names(*names)
        run_piece = partial(chunked, jax.checkpoint(piece, policy=policy, prevent_cse=False))
        if whole_sequences:
            run_piece = _with_derivative_of(run_piece, piece)
    h_last, hs = run_piece(shared, h0, steps)
    return jax.tree.map(lambda h: jnp.moveaxis(h, axis, program.time_axis), hs), h_last


class Shared(NamedTuple):
    """The values that all steps of a run share."""

    params: Params
    weights: PyTree[Array]
    h_reset: State | None
    hold: State | None
    key_hold: Key | None
    drop: State | None


def begin(
    program: Program,
    axis: int,
    params: Params,
    xs: Array,
    h0: State,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Shared, State, Steps]:
    """Prepares the shared values, the first state and the steps, with time moved to `axis`."""
    params, xs, h0, boundaries = vary_alike((params, xs, h0, boundaries), key)
    x_shape = xs.shape[: program.time_axis] + xs.shape[program.time_axis + 1 :]
    steps = xs, boundaries.valid, boundaries.resets
    xs, valid, resets = jax.tree.map(lambda a: jnp.moveaxis(a, program.time_axis, axis), steps)
    if resets is not None:
        resets = entries(resets, valid, program.reverse, axis)
    options, weights = program.options, program.fast.pack(params, x_shape)
    hold = key_hold = drop = None
    if key is None:
        if options.zoneout:
            hold = jax.tree.map(lambda h: jnp.asarray(options.zoneout, h.dtype), h0)
    else:
        key_zoneout, key_drop, key_weights = jax.random.split(key, 3)
        if options.zoneout:
            key_hold = key_zoneout
        if options.recurrent_dropout:
            drop = draw_drop(key_drop, options.recurrent_dropout, h0)
        if options.drop_connect:
            weights = drop_weights(key_weights, options.drop_connect, weights)
    shared = Shared(params, weights, boundaries.h_reset, hold, key_hold, drop)
    return shared, h0, (xs, valid, resets, jnp.arange(xs.shape[axis]))


def walk(
    program: Program, shared: Shared, h: State, steps: Steps
) -> tuple[Array, Boundaries, PyTree[Array]]:
    """Runs some steps, along `program.time_axis`.

    Returns:
        The inputs, zero in padding; the boundaries; the state after each step.
    """
    xs, valid, resets, times = steps
    if valid is not None and not program.clean:
        # Before the product, so that garbage reaches neither the drive nor the weights' gradient.
        xs = select(valid, xs, 0)
    hold = shared.hold
    if shared.key_hold is not None:
        drawn = draw_hold(shared.key_hold, program.options.zoneout, h, times)
        hold = jax.tree.map(lambda a: jnp.moveaxis(a, 0, program.time_axis), drawn)
    boundaries = Boundaries(valid, resets, shared.h_reset, hold, shared.drop)
    states = BACKENDS[program.backend].states
    return xs, boundaries, states(program, shared.params, shared.weights, xs, h, boundaries)


def _piece(program: Program, shared: Shared, h: State, steps: Steps) -> tuple[State, PyTree[Array]]:
    """Runs some steps of a sequence; returns the last state, and all states, zero in padding."""
    _, boundaries, hs = walk(program, shared, h, steps)
    last, axis = 0 if program.reverse else -1, program.time_axis
    h = jax.tree.map(lambda hs: jax.lax.index_in_dim(hs, last, axis, keepdims=False), hs)
    if (valid := boundaries.valid) is not None:
        hs = jax.tree.map(lambda hs: select(valid, hs, 0), hs)
    return h, hs


def _with_derivative_of(
    derived: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Returns `function` with the derivative of `derived`, which computes the same values."""

    def in_front(function: Callable[..., Any]) -> Callable[..., Any]:
        # Under vmap, JAX assumes that both functions leave the mapped axis at the same place, and
        # computes garbage if they do not. A reshape always puts it in front.
        return lambda *args: jax.tree.map(lambda a: a[None].reshape(a.shape), function(*args))

    both = jax.custom_jvp(in_front(function))
    both.defjvp(partial(jax.jvp, in_front(derived)))
    return both
