"""The one place that decides which way a sequence is run.

    derivative   "rule": the cell's own, a linear recurrence; "autodiff": through the scan
    memory       what is kept for it: the "gates" and states, the "states" alone, every k-th state
                 ("chunked"); with the rule, in the last two the derivative goes chunk by chunk

Sequences are time-major here, and already checked.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec, get_abstract_mesh, reshard
from jaxtyping import Array, Bool, PyTree

from gru_jax.cells.gru_params import GRUParams
from gru_jax.kernels import operator as recurrence
from gru_jax.kernels.cpu.library import tell
from gru_jax.recurrence import loop as derivative
from gru_jax.recurrence.boundaries import Bounds, enter, entries, leave, select
from gru_jax.recurrence.chunks import chunk_size, in_chunks
from gru_jax.recurrence.noise import Rates, draw_drop, draw_hold, drop_weights
from gru_jax.types import Key, Params, Rule, State

GATES_BYTES = 2**24
"""Up to here, states in memory, it is faster to keep the gates than to compute them again."""

LARGE = 2**21
"""More features than that, and forward alone, too, is faster in chunks."""


class How(NamedTuple):
    """All that is static in a run: it chooses the compiled program."""

    project: Callable[[Params, Array], PyTree[Array]]
    pack: Callable[[Params], PyTree[Array]]
    gates: Callable[..., PyTree[Array]]
    mix: Callable[..., State]
    rule: Rule | None
    kernel: Callable[[Params], GRUParams] | None
    axes: int
    """Batch and time axes of the inputs."""
    time_axis: int
    reverse: bool
    turns: int
    memory: str | None
    chunk_size: int | None
    rates: Rates


def by_rows(over_time: PyTree[bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns what makes a function of `run`'s arguments one that goes on a mesh of Explicit axes.

    There each device runs it on the rows that it has, and the results stay where the rows are.
    Where no axis parts them, or something is drawn for each, XLA runs it as on Auto axes.

    Args:
        over_time: for each result, whether it has the time axis of the inputs or none.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def on_mesh(how: How, *args: Any) -> Any:
            *_, key = args
            sharding = jax.typeof(args[1]).sharding
            mesh = get_abstract_mesh() if sharding.mesh.empty else sharding.mesh
            if not mesh.explicit_axes:
                return function(how, *args)
            names = list(sharding.spec[: how.axes])
            names[how.time_axis] = None
            steps = PartitionSpec(*names)
            batch = PartitionSpec(*names[: how.time_axis], *names[how.time_axis + 1 :])
            outs = jax.tree.map(lambda has_time: steps if has_time else batch, over_time)
            drawn = key is not None and (how.rates.zoneout or how.rates.recurrent_dropout)
            if drawn or not any(names):
                # Drawn by each device, its rows' masks would be those of other rows. And rows that
                # are whole here may be in pieces where `vmap` runs over such an axis.
                if how.kernel:
                    tell("rows that no Explicit axis of the mesh parts")
                here = partial(function, how._replace(kernel=None))
                placed = jax.tree.map(partial(NamedSharding, mesh), outs)
                axes = mesh.explicit_axes
                return jax.sharding.auto_axes(here, axes=axes, out_sharding=placed)(*args)
            whole = PartitionSpec()
            ins = whole, steps, batch, steps, steps, batch, whole
            there = [reshard(a, NamedSharding(mesh, s)) for a, s in zip(args, ins, strict=True)]
            here = partial(function, how)
            return jax.shard_map(here, mesh=mesh, in_specs=ins, out_specs=outs)(*there)

        return on_mesh

    return decorate


# Compiled here too, so that a call outside jit does not trace its loop afresh each time; by the
# cell's functions rather than the cell, so that a second `gru(64)` finds the first one's program.
@partial(jax.jit, static_argnums=0)
@by_rows((True, False))
def run(
    how: How,
    params: Params,
    xs: Array,
    h0: State,
    valid: Bool[Array, "..."] | None,
    resets: Bool[Array, "..."] | None,
    h_reset: State | None,
    key: Key | None,
) -> tuple[PyTree[Array], State]:
    """Returns the states, zero in padding, and the last of them."""
    time = xs.shape[how.time_axis]
    if time == 0:
        hs = jax.tree.map(lambda h: jnp.zeros((0, *h.shape), h.dtype), h0)
        return jax.tree.map(lambda h: jnp.moveaxis(h, 0, how.time_axis), hs), h0
    features = sum(leaf.size for leaf in jax.tree.leaves(h0))
    # A program that is exported may be for any size: then nothing can hang on how large it is.
    known = isinstance(time * features, int)
    size_in_bytes = time * features * jax.tree.leaves(h0)[0].dtype.itemsize
    if how.memory is None:
        small = not known or size_in_bytes <= GATES_BYTES
        how = how._replace(memory="gates" if small else "states")
    whole = how.memory == "gates" if how.kernel else how.memory == "states" and not how.rule
    # The kernel reads what stands where it stands; loops and chunks go along the first axis.
    axis = how.time_axis if how.kernel and whole else 0
    shared, h0, steps = begin(how, axis, params, xs, h0, valid, resets, h_reset, key)
    size = how.chunk_size or (chunk_size(time, features) if known else time)
    size = min(time, size) if isinstance(time, int) else time
    chunked = partial(in_chunks, size=size, reverse=how.reverse)
    piece = partial(_piece, how._replace(time_axis=axis))
    if whole:
        h_last, hs = piece(shared, h0, steps)
    elif how.memory == "gates":
        # Not with zoneout: of some generators' keys, masks drawn for other steps at once differ.
        large = known and time * features > LARGE and shared.key_hold is None
        run_forward = partial(chunked, piece) if large else piece
        h_last, hs = _differently(run_forward, piece)(shared, h0, steps)
    else:
        # The kernel is as fast to run again as to take up from its states.
        names = [derivative.STATES] if how.memory == "states" and not how.kernel else []
        policy = jax.checkpoint_policies.save_only_these_names(*names)
        again = partial(chunked, jax.checkpoint(piece, policy=policy, prevent_cse=False))
        run_forward = _differently(piece, again) if how.kernel else again
        h_last, hs = run_forward(shared, h0, steps)
    return jax.tree.map(lambda h: jnp.moveaxis(h, axis, how.time_axis), hs), h_last


Steps: TypeAlias = tuple[Array, Array | None, Array | None, Array]
"""Inputs, validity, resets and positions, with time where it is said."""


class Shared(NamedTuple):
    """What all steps of a run share."""

    params: Params
    weights: PyTree[Array]
    h_reset: State | None
    hold: State | None
    key_hold: Key | None
    drop: State | None


def begin(
    how: How,
    axis: int,
    params: Params,
    xs: Array,
    h0: State,
    valid: Array | None,
    resets: Array | None,
    h_reset: State | None,
    key: Key | None,
) -> tuple[Shared, State, Steps]:
    """Returns what is ready before the first step is taken, with time at an axis of its own.

    The other arguments are those of `run`.
    """
    if resets is not None:
        front = jax.tree.map(lambda a: jnp.moveaxis(a, how.time_axis, 0), (resets, valid))
        resets = jnp.moveaxis(entries(front[0], front[1], how.reverse), 0, how.time_axis)
    steps = jax.tree.map(lambda a: jnp.moveaxis(a, how.time_axis, axis), (xs, valid, resets))
    xs, valid, resets = steps
    # Zeros made in here are alike on all devices of a mesh, and the states are not: a loop that is
    # mapped over shards wants its carry to say so from the start. XLA computes nothing for it.
    some = jax.lax.stop_gradient(xs.ravel()[:1].sum())
    h0 = jax.tree.map(lambda h: jnp.where(False, some.astype(h.dtype), h), h0)
    shared = _share(how, params, h0, h_reset, key)
    return shared, h0, (xs, valid, resets, jnp.arange(xs.shape[axis]))


def _share(how: How, params: Params, h0: State, h_reset: State | None, key: Key | None) -> Shared:
    rates, weights = how.rates, how.pack(params)
    if key is None:
        hold = jax.tree.map(lambda h: jnp.asarray(rates.zoneout, h.dtype), h0)
        return Shared(params, weights, h_reset, hold if rates.zoneout else None, None, None)
    key_hold, key_drop, key_weights = jax.random.split(key, 3)
    if rates.drop_connect:
        weights = drop_weights(key_weights, rates.drop_connect, weights)
    drop = draw_drop(key_drop, rates.recurrent_dropout, h0) if rates.recurrent_dropout else None
    return Shared(params, weights, h_reset, None, key_hold if rates.zoneout else None, drop)


def walk(how: How, shared: Shared, h: State, steps: Steps) -> tuple[Array, Bounds, PyTree[Array]]:
    """Takes some steps, along `how.time_axis`, which is the first but for the kernel.

    Returns the inputs, zero in padding, what bounds the steps, and the states carried on.
    """
    xs, valid, resets, times = steps
    if valid is not None:
        # Before the product, so that garbage reaches neither drive nor weights' gradient.
        xs = select(valid, xs, 0)
    if how.kernel:
        bounds = Bounds(valid, resets, h_reset=shared.h_reset)
        params = how.kernel(shared.params)
        if how.rates.drop_connect:
            params = recurrence.join(params, shared.weights)
        ways = {"reverse": how.reverse, "time_axis": how.time_axis}
        return xs, bounds, recurrence.states(params, xs, h, bounds, **ways)
    hold = shared.hold
    if shared.key_hold is not None:
        hold = draw_hold(shared.key_hold, how.rates.zoneout, h, times)
    bounds = Bounds(valid, resets, hold, shared.h_reset, shared.drop)
    drive = how.project(shared.params, xs)
    return xs, bounds, _states(how, shared.weights, drive, h, bounds)


def _piece(how: How, shared: Shared, h: State, steps: Steps) -> tuple[State, PyTree[Array]]:
    """Runs some steps of a sequence; returns the last state and all, zero in padding."""
    _, bounds, hs = walk(how, shared, h, steps)
    last = 0 if how.reverse else -1
    h = jax.tree.map(lambda hs: jax.lax.index_in_dim(hs, last, how.time_axis, keepdims=False), hs)
    if (valid := bounds.valid) is not None:
        hs = jax.tree.map(lambda hs: select(valid, hs, 0), hs)
    return h, hs


def _differently(run: Callable[..., Any], derived: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `run` with the derivative of `derived`, another way to the same numbers."""
    both = jax.custom_jvp(run)
    both.defjvp(partial(jax.jvp, derived))
    return both


def _states(how, weights, drive, h0, bounds):
    """Returns the state after each step, carried through padding."""
    if how.rule:
        keep = how.memory == "gates"
        plan = derivative.Plan(how.gates, how.mix, how.rule, how.reverse, keep, how.turns)
        return derivative.states(plan, weights, drive, h0, bounds)

    def body(h, step):
        drive_t, t = step
        bounds_t = bounds.at(t)
        seen, h = enter(bounds_t, h)
        h = leave(bounds_t, h, how.mix(how.gates(weights, drive_t, seen), h))
        return h, h

    if how.memory == "states":
        body = jax.checkpoint(body, prevent_cse=False)
    steps = drive, jnp.arange(jax.tree.leaves(drive)[0].shape[0])
    _, hs = jax.lax.scan(body, h0, steps, reverse=how.reverse, unroll=how.turns)
    return hs
