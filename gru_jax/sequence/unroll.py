"""A cell over time: boundaries, direction, what is kept, and what its gates did.

    xs --project--> drive --gates, mix--> hs

The products with the inputs are done for many steps at once, before the loop; the loop carries the
state alone. A padded step leaves the state as it was and its output is zero. Direction needs no
flipping: a loop in reverse meets the padding first and carries h0 through it.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree

from gru_jax.sequence import checks as arguments
from gru_jax.sequence import schedule as loop
from gru_jax.sequence.backends import Backend, choose
from gru_jax.sequence.trace import record
from gru_jax.types import ArrayLike, Cell, Key, Layer, Params, State, Trace


def unroll(
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    h_reset: State | None = None,
    reverse: bool = False,
    time_axis: int = -2,
    key: Key | None = None,
    zoneout: float = 0.0,
    recurrent_dropout: float = 0.0,
    drop_connect: float = 0.0,
    derivative: Literal["rule", "autodiff"] = "rule",
    memory: Literal["gates", "states", "chunked"] | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
    backend: Backend | None = None,
) -> tuple[PyTree[Float[Array, "*batch time hidden"]], State]:
    """Runs a cell over sequences.

    What stands in padded steps, NaN and inf included, changes no result and no gradient. Under
    `jit` the cell is closed over: `jax.jit(lambda params, xs: unroll(cell, params, xs))`.

    Args:
        cell: the recurrence, e.g. `gru(64)`.
        params: its parameters, from `cell.init`.
        xs: the inputs; no batch axis, one, or several.
        h0: the state before the first step, finite; None is the cell's initial state.
        lengths: steps at and after a sequence's length are padding; None is no padding, and so is
            a length of `time` or more.
        mask: False steps are padding, wherever they stand. With `lengths`, both apply.
        resets: True steps begin a new segment (an episode): the state is put back to `h_reset`
            before x_t is read. A reset in padding is none. In reverse the segments are the same,
            each entered at its last step; of a sequence cut where a segment begins, the earlier
            piece then starts from `h_reset`.
        h_reset: the state, like `h0`, that each new segment begins with; None is the cell's
            initial state.
        reverse: run from the last step to the first; outputs stay in input order.
        time_axis: where time stands in `xs`, in `mask`, in `resets` and in the outputs: 0 is
            time-major, which saves two transposed copies.
        key: switches on what is random in training, the next three; None is evaluation. The masks
            depend on the key and on each step's position in `xs`.
        zoneout: probability that a feature of the state stays as it was, drawn for each step; in
            evaluation that share of the old state is kept.
        recurrent_dropout: probability that the gates cannot see a feature of the old state, drawn
            once for each sequence.
        drop_connect: probability that a weight on the state is zero, drawn once for the batch.
        derivative: "rule" is the cell's own (one product for each weight's gradient, outside the
            loop) where it has one; "autodiff" differentiates through the loop, slowly.
        memory: what is kept for reverse mode: the "gates" and states of all steps, the "states"
            alone, or, "chunked", the state every `chunk_size` steps. None is "gates" while the
            states (under `vmap`, of one example) take up to 16 MiB, where it is fastest, and
            "states" from there on.
        chunk_size: steps that are worked on at once with the other two (by autodiff with "chunked"
            alone); None is about the square root of their number, and more where a step is small.
        unroll: steps in one turn of the compiled loop; the kernel has no such turns.
        backend: "xla" is loops that XLA compiles, "cpu" the kernel for a `gru` in float32 with
            derivative "rule" and without zoneout and recurrent dropout, which must then be there;
            "auto" is the kernel where it can run, and else XLA's loops. None is what the
            environment variable GRU_JAX_BACKEND says, of these three, when the call is traced, and
            "auto" where it says nothing. The kernel keeps, with `memory` "states" too, the state
            before each chunk alone, and runs its steps again. Of what goes through `jax.export`,
            XLA's loops run, anywhere.

    Returns:
        `(hs, h_last)`: the state after each step, zero in padded ones, and the state after the
        last valid step in the direction of travel, which is `h0` where there is none.

    Raises:
        ValueError: if shapes or dtypes do not fit each other, an option is out of range, or the
            kernel is asked for and cannot run.

    References:
        Krueger et al. (2017) for zoneout, Gal and Ghahramani (2016) for recurrent dropout, Merity
        et al. (2018) for DropConnect on recurrent weights, Chen et al. (2016), "Training deep nets
        with sublinear memory cost", for chunks.
    """
    return loop.run(
        *prepare(
            "unroll",
            cell,
            params,
            xs,
            h0,
            lengths=lengths,
            mask=mask,
            resets=resets,
            h_reset=h_reset,
            reverse=reverse,
            time_axis=time_axis,
            key=key,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            drop_connect=drop_connect,
            derivative=derivative,
            memory=memory,
            chunk_size=chunk_size,
            unroll=unroll,
            backend=backend,
        )
    )


def trace(
    cell: Cell | Layer,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    key: Key | None = None,
    **options: Any,
) -> PyTree:
    """Runs a cell over sequences and returns what its gates did in every step: the gate tape.

    The states are those of `unroll`, by the same loop; the gates are computed from them after it,
    for all steps at once. It may stand under `jit`, `vmap` and `grad` (to train on the gates'
    values); there, what is not used of the tape is not computed.

    Args:
        cell: the recurrence, e.g. `gru(64)`, or a layer with recurrences in it, e.g. `stack(...)`.
        params: its parameters.
        xs: as in `unroll`.
        h0: as in `unroll`; the state of layers as their `apply` takes it.
        lengths: as in `unroll`.
        mask: as in `unroll`.
        resets: as in `unroll`.
        key: as in `unroll`; None is evaluation.
        options: of a cell, the others of `unroll`; `memory` and `chunk_size` change nothing, since
            all is kept, in one piece. Layers have been given theirs.

    Returns:
        The tape, time where it is in `xs`. Of layers a tree of them with the net's own structure: a
        tuple for `stack`, `Directions` for `bidirectional`, `()` for a layer without gates.

    Raises:
        ValueError: as from `unroll`.
    """
    steps = {"lengths": lengths, "mask": mask, "resets": resets, "key": key}
    if isinstance(cell, Layer):
        if options:
            raise ValueError(
                f"trace: options must be given to the layers, got {', '.join(options)}."
            )
        return cell.trace(params, xs, h0, **steps)[1] if cell.trace else ()
    if not isinstance(cell, Cell):
        kind = type(cell).__name__
        raise ValueError(f"trace: cell must be a Cell or a Layer, e.g. gru(64), got a {kind}.")
    known = ("h_reset", "reverse", "time_axis", *arguments.OPTIONS)
    for name in options:
        if name not in known:
            raise ValueError(f"trace: options must be among {', '.join(known)}, got {name}.")
    checked = prepare("trace", cell, params, xs, h0, **steps, **options)
    r, z, c, h, h_before, x, q = record(*checked)
    if (valid := checked.valid) is None:
        valid = jnp.ones(x.shape[: x.ndim - len(cell.input_shape(params))], bool)
    return Trace(r, z, c, h, h_before, x, valid, q)


class Checked(NamedTuple):
    """The arguments of `loop.run`."""

    how: loop.How
    params: Params
    xs: Array
    h0: State
    valid: Bool[Array, "*batch time"] | None
    resets: Bool[Array, "*batch time"] | None
    h_reset: State | None
    key: Key | None


def prepare(
    function: str,
    cell: Cell,
    params: Params,
    xs: ArrayLike,
    h0: State | None,
    *,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    resets: ArrayLike | None,
    key: Key | None,
    h_reset: State | None = None,
    reverse: bool = False,
    time_axis: int = -2,
    zoneout: float = 0.0,
    recurrent_dropout: float = 0.0,
    drop_connect: float = 0.0,
    derivative: str = "rule",
    memory: str | None = None,
    chunk_size: int | None = None,
    unroll: int = 1,
    backend: str | None = None,
) -> Checked:
    """Checks the arguments of `unroll`, in the name of a function that has them too."""
    if not isinstance(cell, Cell):
        raise ValueError(
            f"{function}: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}."
        )
    xs = jnp.asarray(xs)
    arguments.check_options(
        function,
        reverse=reverse,
        derivative=derivative,
        memory=memory,
        chunk_size=chunk_size,
        unroll=unroll,
    )
    rates = arguments.check_rates(function, zoneout, recurrent_dropout, drop_connect)
    steps = arguments.check_inputs(function, cell, params, xs)
    axis = arguments.check_time_axis(function, time_axis, xs, len(steps))
    x_shape = xs.shape[:axis] + xs.shape[axis + 1 :]
    initial = cell.initial_state(params, x_shape)
    h0 = arguments.check_state(function, "h0", h0, initial)
    valid = arguments.valid_steps(function, steps, axis, lengths, mask)
    resets = arguments.check_steps(function, "resets", resets, steps)
    if h_reset is not None and resets is None:
        raise ValueError(f"{function}: h_reset must come with resets, got resets None.")
    if resets is not None:
        h_reset = arguments.check_state(function, "h_reset", h_reset, initial)
    training = key is not None
    choice = choose(
        function, backend, cell, params, rates, derivative=derivative, training=training
    )
    how = loop.How(
        cell.project,
        cell.pack,
        cell.gates,
        cell.mix,
        cell.rule if derivative == "rule" else None,
        choice.kernel,
        len(steps),
        axis,
        bool(reverse),
        unroll,
        memory,
        chunk_size,
        rates,
    )
    return Checked(how, params, xs, h0, valid, resets, h_reset, key)
