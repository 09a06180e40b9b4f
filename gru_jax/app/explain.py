"""What a trained run does inside: reports on every cell, and figures of one sequence.

trained, sequences --inspect--> Inspection --report--> numbers of a cell
                                           --draw----> figures/
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Architecture, Params
from gru_jax.app import runs

STEPS = 50_000
"""Steps that are looked at, padding of the shorter sequences counted in; the rest is left out."""


class Inspection(NamedTuple):
    """What one cell of the network did in all sequences."""

    layer: int
    """Of the recurrent layers, counted from 1."""
    direction: str
    trace: gj.Trace
    gradients: Float[Array, "sequences time"]
    """|dL/dh_t|, with L the task's loss of the sequence's target."""
    exponents: Float[Array, " sequences"]


class Report(NamedTuple):
    """One cell in numbers; shares are means over units, of the valid steps of all sequences."""

    layer: int
    direction: str
    reset_shut: float
    reset_open: float
    update_shut: float
    update_open: float
    memory: float
    """The timescale of the middle unit, in steps; the median of sequences."""
    longest_memory: float
    """That of the slowest unit."""
    gradient: float
    """|dL/dh| at the first step that is read over that at the last; geometric mean of sequences."""
    lyapunov: float
    """In nats a step; mean of sequences."""


def inspect(
    trained: runs.Trained, xs: Sequence[np.ndarray], targets: np.ndarray | None = None
) -> list[Inspection]:
    """Runs the net over sequences `[time, input]` and returns what each of its cells did.

    Args:
        trained: the run.
        xs: the sequences; of them those within the first `STEPS` steps, and the first in any case.
        targets: of the sequences; None takes the classes that the net thinks likeliest or, of a
            task without classes, the sum of the outputs in place of the loss.

    Raises:
        ValueError: if the net has no recurrence in stacks and residuals.
    """
    task, net = trained.task, trained.net
    longest = np.maximum.accumulate([len(x) for x in xs])
    count = max(1, int((longest * np.arange(1, len(xs) + 1) <= STEPS).sum()))
    padded, lengths = gj.pad(task.prepare(trained.statistics, xs[:count]))
    if targets is not None:
        targets = targets[:count]
    elif task.classes:
        targets = np.argmax(runs.predict(trained, xs[:count]), -1)
    looks = _look(net, task.metrics, trained.params, padded, lengths, targets)
    if not looks:
        raise ValueError(f"explain: net of {task.name} must have a recurrent layer, got none.")
    return [
        Inspection(layer, "backward" if backward else "forward", *look)
        for (layer, backward), look in looks.items()
    ]


class _Cell(NamedTuple):
    """What there is to look at."""

    cell: gj.Cell
    params: Params
    trace: gj.Trace
    direction: str
    outputs: Callable[[Array], Array]
    """From the cell's states to the net's outputs."""


@partial(jax.jit, static_argnums=(0, 1))
def _look(
    net: gj.Layer,
    metrics: Callable[[Array, Any], dict[str, Array]],
    params: Params,
    xs: Array,
    lengths: Array,
    targets: Array | None,
) -> dict[tuple[int, bool], tuple[gj.Trace, Array, Array]]:
    """Returns trace, gradients and exponents by recurrent layer, from 1, and whether backward."""
    assert net.architecture is not None
    traces = gj.trace(net, params, xs, lengths=lengths)
    layers = _find(net.architecture, params, traces, xs, lengths, lambda ys: ys)
    looks = {}
    for number, layer in enumerate(layers, 1):
        for cell, own, trace, direction, outputs in layer:
            steps = {"lengths": lengths, "reverse": direction == "backward"}

            def loss_fn(hs: Array, _: Array, outputs: Any = outputs) -> Array:
                ys = outputs(hs)
                return ys.sum() if targets is None else metrics(ys, targets)["loss"].sum()

            looks[number, steps["reverse"]] = (
                trace,
                gj.gradient_norms(cell, own, trace.x, loss_fn, **steps),
                gj.lyapunov_exponent(jax.random.key(0), cell, own, trace.x, **steps),
            )
    return looks


def _find(
    layer: Architecture,
    params: Params,
    trace: Any,
    xs: Array,
    lengths: Array,
    outputs: Callable[[Array], Array],
) -> Iterator[list[_Cell]]:
    """Yields the cells of each recurrent layer; `outputs` maps the layer's ys to the net's."""
    options: dict[str, Any] = dict(layer.options)
    cells: list[Any] = [gj.build(part) for part in layer.parts]
    if layer.builder == "recurrent":
        direction = "backward" if options["reverse"] else "forward"
        yield [_Cell(cells[0], params, trace, direction, outputs)]
    elif layer.builder == "bidirectional":
        states = trace._replace(forward=trace.forward.h, backward=trace.backward.h)

        def merge(direction: str, hs: Array) -> Array:
            forward, backward = states._replace(**{direction: hs})
            if options["merge"] == "sum":
                return outputs(forward + backward)
            return outputs(jnp.concatenate([forward, backward], -1))

        found = zip(cells, params, trace, trace._fields, strict=True)
        yield [_Cell(*each, partial(merge, each[-1])) for each in found]
    elif layer.builder == "residual":
        yield from _find(layer.parts[0], params, trace, xs, lengths, lambda ys: outputs(xs + ys))
    elif layer.builder == "stack":
        for i, part in enumerate(layer.parts):

            def rest(ys: Array, i: int = i) -> Array:
                behind = cells[i + 1 :]
                if behind:
                    ys, _ = gj.stack(*behind).apply(params[i + 1 :], ys, lengths=lengths)
                return outputs(ys)

            yield from _find(part, params[i], trace[i], xs, lengths, rest)
            xs, _ = cells[i].apply(params[i], xs, lengths=lengths)
            if xs.ndim < 3:  # Behind pool there are no steps.
                return


def report(inspection: Inspection) -> Report:
    """Returns a cell in numbers."""
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
