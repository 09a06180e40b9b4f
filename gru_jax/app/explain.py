"""The cells of a trained run: their gates, gradients and exponents, in arrays and in numbers.

trained, sequences --inspect--> Inspection --report--> numbers of a cell
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Architecture, Params
from gru_jax.app import problem
from gru_jax.app.problem import Trained
from gru_jax.app.tasks.task import Goal

STEPS = 50_000
"""Limit of steps, with the padding of shorter sequences; `inspect` leaves out the rest."""
Outputs: TypeAlias = Callable[[Array], Array]
"""From a cell's states, or a layer's outputs, to the net's outputs."""


class Inspection(NamedTuple):
    """One cell of the network in all sequences.

    Attributes:
        layer: number of its recurrent layer, from 1.
        direction: "forward" or "backward".
        trace: its gates and states.
        gradients: |dL/dh_t|, with L the task's loss of the sequence's target.
        exponents: the Lyapunov exponents.
    """

    layer: int
    direction: str
    trace: gj.Trace
    gradients: Float[Array, "sequences time"]
    exponents: Float[Array, " sequences"]


class Report(NamedTuple):
    """One cell in numbers; shares are means over units, of the valid steps of all sequences.

    Attributes:
        memory: the timescale of the middle unit, in steps; the median of sequences.
        longest_memory: the timescale of the slowest unit.
        gradient: |dL/dh| at the first step that the cell reads over |dL/dh| at the last; the
            geometric mean of sequences.
        lyapunov: in nats a step; the mean of sequences.
    """

    layer: int
    direction: str
    reset_shut: float
    reset_open: float
    update_shut: float
    update_open: float
    memory: float
    longest_memory: float
    gradient: float
    lyapunov: float


def inspect(trained: Trained, data: Any, *, known: bool = True) -> tuple[list[Inspection], int]:
    """Runs the net over sequences and inspects each of its cells.

    Args:
        trained: the run.
        data: as its task loads them; `STEPS` limits the sequences looked at, but not below one.
        known: whether the data hold the targets. Else the loss is that of the classes that the net
            thinks likeliest or, of a task without classes, the sum of the outputs.

    Returns:
        The cells, and the number of sequences in the data.

    Raises:
        ValueError: if the steps are images, the net has no recurrence in stacks and residuals, or
            a cell's state is not one array.
    """
    task, _, facts, net, params = trained
    if task.hidden_because:
        raise ValueError(
            f"explain: task must have sequences of vectors or tokens, got {task.name}, "
            f"{task.hidden_because}."
        )
    batch, given = take(trained, data)

    def losses(ys: Array) -> Array:
        if known:
            return task.metrics(facts, ys, batch)["loss"].total
        return gj.cross_entropy(ys, ys.argmax(-1)) if trained.goal.classes else ys

    looks = net.trace and _look(net, losses, params, batch.xs, batch.lengths)
    if not looks:
        raise ValueError(f"explain: net of {task.name} must have a recurrent layer, got none.")
    cells = [
        Inspection(layer, "backward" if backward else "forward", *look)
        for (layer, backward), look in looks.items()
    ]
    return cells, given


def take(trained: Trained, data: Any) -> tuple[Any, int]:
    """Returns the first sequences as one batch, and the number of all."""
    task, config, facts = trained[:3]
    taken, given, longest = [], 0, 0
    for batch in problem.unstack(task.batches(config, task.prepare(facts, data), None)):
        rows = np.flatnonzero(batch.valid)
        longests = np.maximum.accumulate([longest, *batch.lengths[rows]])[1:]
        fits = longests * np.arange(given + 1, given + 1 + len(rows)) <= STEPS
        if count := max(int(fits.sum()), given == 0):
            taken.append(jax.tree.map(lambda a, rows=rows[:count]: a[rows], batch))
        given, longest = given + len(rows), longests[-1]
    whole = jax.tree.map(_join, *taken)
    steps, end = whole.xs.shape[1:2], whole.lengths.max()
    # Tokens and notes have a target for each step.
    return jax.tree.map(lambda a: a[:, :end] if a.shape[1:2] == steps else a, whole), given


def name_sequence(goal: Goal, data: Any, row: int) -> str:
    """Returns a test sequence in words: its number and, of classes, the true one."""
    name = f"test {goal.sample} {row + 1}"
    return name + (f", {goal.target} {goal.classes[data.targets[row]]}" if goal.classes else "")


def _join(*parts: np.ndarray) -> np.ndarray:
    """Returns the rows of all parts, with zeros behind the steps of those that are shorter."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    longest = max(part.shape[1] for part in parts)
    ends = ([(0, 0), (0, longest - p.shape[1]), *[(0, 0)] * (p.ndim - 2)] for p in parts)
    return np.concatenate([np.pad(p, end) for p, end in zip(parts, ends, strict=True)])


@partial(jax.jit, static_argnums=(0, 1))
def _look(
    net: gj.Layer, losses: Outputs, params: Params, xs: Array, lengths: Array
) -> dict[tuple[int, bool], tuple[gj.Trace, Array, Array]]:
    """Returns trace, gradients and exponents by recurrent layer, from 1, and direction."""
    assert net.architecture is not None
    traces = gj.trace(net, params, xs, lengths=lengths)
    layers = _find(net.architecture, params, traces, xs, lengths, lambda ys: ys)
    looks = {}
    for number, cells in enumerate(layers, 1):
        for backward, cell, own, trace, outputs in cells:
            if not hasattr(trace.h, "shape"):
                raise ValueError(
                    "explain: net must have cells whose state is one array, as a GRU's, "
                    f"got {cell}."
                )

            def loss_fn(hs: Array, _: Array, outputs: Outputs = outputs) -> Array:
                return losses(outputs(hs)).sum()

            steps = {"lengths": lengths, "reverse": backward}
            gradients = gj.gradient_norms(cell, own, trace.x, loss_fn, **steps)
            exponents = gj.lyapunov_exponent(jax.random.key(0), cell, own, trace.x, **steps)
            looks[number, backward] = trace, gradients, exponents
    return looks


def _find(
    layer: Architecture, params: Params, trace: Any, xs: Array, lengths: Array, outputs: Outputs
) -> Iterator[list[tuple[bool, gj.Cell, Params, gj.Trace, Outputs]]]:
    """Yields the cells of each recurrent layer: whether backward, cell, params, trace, outputs."""
    options: dict[str, Any] = dict(layer.options)
    parts: list[Any] = [gj.build(part) for part in layer.parts]
    if layer.builder == "recurrent":
        yield [(options["reverse"], parts[0], params, trace, outputs)]
    elif layer.builder == "bidirectional":
        states = trace.forward.h, trace.backward.h

        def merge(backward: bool, hs: Array) -> Array:
            both = (states[0], hs) if backward else (hs, states[1])
            if options["merge"] == "sum":
                return outputs(both[0] + both[1])
            return outputs(jnp.concatenate(both, -1))

        cells = zip((False, True), parts, params, trace, strict=True)
        yield [(*each, partial(merge, each[0])) for each in cells]
    elif layer.builder == "residual":
        yield from _find(layer.parts[0], params, trace, xs, lengths, lambda ys: outputs(xs + ys))
    elif layer.builder == "stack":
        for i, part in enumerate(layer.parts):

            def rest(ys: Array, i: int = i) -> Array:
                if behind := parts[i + 1 :]:
                    ys, _ = gj.stack(*behind).apply(params[i + 1 :], ys, lengths=lengths)
                return outputs(ys)

            yield from _find(part, params[i], trace[i], xs, lengths, rest)
            xs, _ = parts[i].apply(params[i], xs, lengths=lengths)
            if xs.ndim < 3:  # No steps follow pool.
                return


def report(inspection: Inspection) -> Report:
    """Returns a cell in numbers, NaN for a gate that it does not have."""
    trace, norms = inspection.trace, np.asarray(inspection.gradients)
    unknown = jnp.full((), jnp.nan)
    r, z, _ = (ends or gj.Ends(unknown, unknown) for ends in gj.saturation(trace))
    memory = np.full((1, 1), np.nan) if trace.z is None else np.asarray(gj.timescales(trace))
    count = np.asarray(trace.valid).sum(1)
    rows = np.flatnonzero(count > 1)
    first, last = norms[rows, 0], norms[rows, count[rows] - 1]
    if inspection.direction == "backward":
        first, last = last, first
    with np.errstate(divide="ignore", invalid="ignore"):  # Some states reach no output.
        gradient = float(np.exp(np.log(first / last).mean())) if rows.size else np.nan
    return Report(
        layer=inspection.layer,
        direction=inspection.direction,
        reset_shut=float(r.low.mean()),
        reset_open=float(r.high.mean()),
        update_shut=float(z.low.mean()),
        update_open=float(z.high.mean()),
        memory=float(np.median(memory)),
        longest_memory=float(np.median(memory.max(-1))),
        gradient=gradient,
        lyapunov=float(inspection.exponents.mean()),
    )
