"""A cell over time.

    xs --project--> drive --gates, mix--> hs

The inputs of many steps are multiplied by their weights at once, before the loop; the loop carries
only the state. A padded step leaves the state unchanged, and its output is zero. Running in reverse
needs no flipping: the loop reads the padding first and carries h0 through it.
"""

from functools import partial
from typing import Literal

import jax
from jaxtyping import Array, Bool, Integer, PyTree, Shaped

from gru_jax.sequence.call import Settings, make_settings, prepare, run_call
from gru_jax.sequence.checks import Limits, as_array, as_lengths, clear_errors
from gru_jax.sequence.choice import environment, traced_anew
from gru_jax.sequence.options import BackendName, RunOptions
from gru_jax.types import ArrayLike, Cell, Key, Params, State


def unroll(
    cell: Cell,
    params: Params,
    xs: Shaped[ArrayLike, "..."],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    reverse: bool = False,
    time_axis: int | None = None,
    key: Key | None = None,
    zoneout: float = 0.0,
    recurrent_dropout: float = 0.0,
    drop_connect: float = 0.0,
    derivative: Literal["rule", "autodiff"] = "rule",
    memory: Literal["gates", "states", "chunked"] | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
    backend: BackendName | None = None,
) -> tuple[PyTree[Shaped[Array, "..."]], State]:
    """Runs a cell over sequences.

    Values in padded steps, NaN and inf included, change no result and no gradient.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        params: its parameters, from `cell.init`.
        xs: the inputs, `[*batch, time, input]`; no batch axis, one, or several. Cells with other
            inputs have other axes after time, e.g. none for tokens.
        h0: the state before the first step, finite; None is the cell's initial state.
        lengths: steps at and after a sequence's length are padding; None, or a length of `time` or
            more, means no padding.
        mask: False steps are padding, at any position. With `lengths`, both apply.
        resets: True steps begin a new segment (an episode): the state is set to `h_reset` before
            x_t is read. Resets in padding are ignored. In reverse the segments are the same, and
            each is entered at its last step. If you cut a sequence where a segment begins, the
            earlier piece starts from `h_reset` in reverse.
        h_reset: the state that each new segment begins with, of the same form as `h0`; None is the
            cell's initial state.
        reverse: run from the last step to the first; outputs stay in input order.
        time_axis: the time axis of `xs`, `mask`, `resets` and the outputs. None is the axis just
            before the axes of one step's input; 0 is time-major, which saves two transposed copies.
        key: turns on training noise, the next three arguments; None selects evaluation. The masks
            depend on the key and on each step's position in `xs`.
        zoneout: probability that a feature of the state keeps its old value, drawn for each step.
            Evaluation instead keeps this share of the old state.
        recurrent_dropout: probability that a feature of the old state is hidden from the gates,
            drawn once for each sequence.
        drop_connect: probability that a weight that acts on the state is zero, drawn once for the
            batch.
        derivative: "rule" is the cell's own derivative, if it has one: each weight's gradient is
            one product outside the loop. "autodiff" differentiates through the loop, which is
            slower.
        memory: the residuals of reverse mode. "gates" keeps the gates and states of all steps,
            "states" keeps only the states, and "chunked" keeps the state every `chunk_size` steps.
            None is "gates" up to 16 MiB of states (of one example under `vmap`), where it is
            fastest, and "states" above. With backend="scan" it is "gates"; with "gpu" it is so up
            to 512 MiB.
        chunk_size: steps in a chunk, for "states" and "chunked" (under autodiff only for
            "chunked"). None is about the square root of the number of steps, and more if a step is
            small.
        unroll: steps in one iteration of the compiled loop; the kernels ignore it.
        backend: None reads the environment variable GRU_JAX_BACKEND when the call is traced; if
            unset, it is "auto". "auto" runs the CPU kernel if it can; on accelerators, "scan" if it
            can, for 128 steps or more; otherwise XLA's loops. Every other name raises an error if
            its backend cannot run. "xla" runs loops that XLA compiles. "scan" runs all steps in
            parallel, for cells that are linear in the state, e.g. `min_gru`. "cpu" runs the
            compiled kernel, which needs a plain `gru` in float32 on a CPU, with the rule, and
            without zoneout and recurrent dropout. "gpu" runs a CUDA kernel on an NVIDIA GPU, under
            the same conditions, but also in bfloat16, with at most 512 features (128 before compute
            capability 9.0). It computes states, gates and sums in float32. It has not run on a GPU
            yet, so "auto" never chooses it. Second derivatives and `jax.export` run XLA's loops.
            With `memory="states"`, too, the kernels keep only the state before each chunk, and
            recompute the chunk's steps.

    Returns:
        `(hs, h_last)`: the state after each step, zero in padded steps, and the state after the
        valid step that runs last. If no step is valid, `h_last` is `h0`.

    Raises:
        ValueError: if shapes or dtypes do not match, an option is out of range, or the named
            backend cannot run.

    References:
        Krueger et al. (2017) for zoneout, Gal and Ghahramani (2016) for recurrent dropout, Merity
        et al. (2018) for DropConnect on recurrent weights, Chen et al. (2016), "Training deep nets
        with sublinear memory cost", for chunks.
    """
    options = RunOptions(
        zoneout, recurrent_dropout, drop_connect, derivative, memory, chunk_size, unroll, backend
    )
    settings = make_settings("unroll", cell, options, reverse, time_axis)
    xs = as_array("unroll", "xs", xs, "unroll(cell, params, xs)")
    limits = Limits(as_lengths("unroll", lengths), mask, resets, h_reset)
    with clear_errors():
        return traced_anew(_unroll)(settings, environment(), params, xs, h0, limits, key)


# Compiled as a whole, so that a call outside jit is one program that copies nothing from the host.
@partial(jax.jit, static_argnums=(0, 1))
def _unroll(
    settings: Settings,
    _environment: tuple[str, str],
    params: Params,
    xs: Array,
    h0: State | None,
    limits: Limits,
    key: Key | None,
) -> tuple[PyTree[Array], State]:
    return run_call(prepare(settings, params, xs, h0, limits, key))
