"""What a trained run does inside: reports on every cell, and figures of one sequence.

trained, sequences --inspect--> Inspection --report--> numbers of a cell
                                           --draw----> figures/
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gru_jax import files
from gru_jax.analysis.dynamics import gradient_norms, lyapunov_exponent
from gru_jax.analysis.gates import saturation, timescales
from gru_jax.app import runs
from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.cells.gru import gru
from gru_jax.data.batching import pad
from gru_jax.layers.combine import stack
from gru_jax.layers.trace import trace
from gru_jax.training.losses import cross_entropy
from gru_jax.types import Params, Trace

STEPS = 50_000
"""Steps that are looked at, padding of the shorter sequences counted in; the rest is left out."""
FRAMES = 60
"""Steps of a sequence that are animated."""


class Inspection(NamedTuple):
    """What one cell of the network did in all sequences."""

    layer: int
    """Of the recurrent layers, counted from 1."""
    direction: str
    tape: Trace
    gradients: Float[Array, "sequences time"]
    """|dL/dh_t|, with L the cross entropy of the sequence's label in nats."""
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
    trained: runs.Trained,
    xs: Sequence[np.ndarray],
    labels: Int[np.ndarray, " sequences"] | None = None,
) -> list[Inspection]:
    """Runs the network over sequences `[time, 12]` and returns what each of its cells did.

    Args:
        trained: the run.
        xs: the sequences; of them those within the first `STEPS` steps, and the first in any case.
        labels: of the sequences; None takes those that the network thinks likeliest.
    """
    longest = np.maximum.accumulate([len(x) for x in xs])
    count = max(1, int((longest * np.arange(1, len(xs) + 1) <= STEPS).sum()))
    padded, lengths = pad(task.standardise(xs[:count], trained.scale))
    given = np.argmax(runs.predict(trained, xs[:count]), -1) if labels is None else labels[:count]
    found = _look(trained.config, trained.params, padded, lengths, given)
    return [
        Inspection(layer, direction, *looks[direction])
        for layer, looks in enumerate(found, 1)
        for direction in ("forward", "backward")
    ]


@partial(jax.jit, static_argnums=0)
def _look(
    config: task.Config, params: Params, xs: Array, lengths: Array, labels: Array
) -> list[dict[str, tuple[Trace, Array, Array]]]:
    """Returns what `_look_at` does of each recurrent layer and direction."""
    tapes = trace(task.network(config), params, xs, lengths=lengths)
    look = partial(_look_at, config, params, tapes, lengths, labels)
    return [
        {direction: look(place, direction) for direction in ("forward", "backward")}
        for place, both in enumerate(tapes)
        if both
    ]


def _look_at(
    config: task.Config,
    params: Params,
    tapes: Sequence[Any],
    lengths: Array,
    labels: Array,
    place: int,
    direction: str,
) -> tuple[Trace, Array, Array]:
    """Returns a cell's tape, gradients and exponents."""
    both, rest = tapes[place], stack(*task.layers(config)[place + 1 :])
    tape, own = getattr(both, direction), getattr(params[place], direction)
    cell, way = gru(config.hidden), {"lengths": lengths, "reverse": direction == "backward"}

    def loss_fn(hs: Array, _: Array) -> Array:
        ys = [hs if name == direction else getattr(both, name).h for name in both._fields]
        logits, _ = rest.apply(params[place + 1 :], jnp.concatenate(ys, -1), lengths=lengths)
        return cross_entropy(logits, labels).sum()

    return (
        tape,
        gradient_norms(cell, own, tape.x, loss_fn, **way),
        lyapunov_exponent(jax.random.key(0), cell, own, tape.x, **way),
    )


def report(inspection: Inspection) -> Report:
    """Returns a cell in numbers."""
    tape, norms = inspection.tape, np.asarray(inspection.gradients)
    r, z, _ = saturation(tape)
    memory = np.asarray(timescales(tape))
    count = np.asarray(tape.valid).sum(1)
    rows = np.flatnonzero(count > 1)
    first, last = norms[rows, 0], norms[rows, count[rows] - 1]
    if inspection.direction == "backward":
        first, last = last, first
    assert r is not None
    assert z is not None
    return Report(
        layer=inspection.layer,
        direction=inspection.direction,
        reset_shut=float(r.low.mean()),
        reset_open=float(r.high.mean()),
        update_shut=float(z.low.mean()),
        update_open=float(z.high.mean()),
        memory=float(np.median(memory)),
        longest_memory=float(np.median(memory.max(-1))),
        gradient=float(np.exp(np.log(first / last).mean())) if rows.size else np.nan,
        lyapunov=float(inspection.exponents.mean()),
    )


def draw(found: Sequence[Inspection], index: int, name: str, folder: Path) -> Iterator[Path]:
    """Draws one of the sequences; yields the path of each figure when it is there.

    Args:
        found: from `inspect`.
        index: of the sequence.
        name: of the sequence, for the titles.
        folder: where; it is made.
    """
    from matplotlib.figure import Figure

    from gru_jax import plot

    def save(figure: Figure, title: str, path: Path) -> Path:
        figure.suptitle(f"{title}: {name}", fontsize=11)
        files.write(path, partial(figure.savefig, format="png", dpi=150))
        return path

    folder.mkdir(parents=True, exist_ok=True)
    length = int(found[0].tape.valid[index].sum())
    tapes = [jax.tree.map(lambda a: np.asarray(a)[index, :length], each.tape) for each in found]
    for each, tape in zip(found, tapes, strict=True):
        figure = Figure(figsize=(7, 7.5), layout="constrained")
        plot.gates(tape, figure.subplots())
        title = f"layer {each.layer}, {each.direction}"
        yield save(figure, title, folder / f"gates_{each.layer}_{each.direction}.png")

    change = np.abs(tapes[0].h - tapes[0].h_before).mean(-1)
    figure = Figure(figsize=(12, 5.1), layout="constrained")
    begin = length // 4  # The first steps change a state of zeros the most.
    plot.step(tapes[0], begin + int(change[begin:].argmax()), figure.subplots())
    yield save(figure, "layer 1, forward", folder / "step.png")

    numbers = {
        "timescales": (plot.timescales, lambda each: timescales(each.tape)[index]),
        "gradient_flow": (plot.gradient_flow, lambda each: each.gradients[index, :length]),
    }
    count = found[-1].layer
    for stem, (function, number) in numbers.items():
        figure = Figure(figsize=(6.5, 0.6 + 2.2 * count), layout="constrained")
        axes = figure.subplots(count, sharex=True, squeeze=False)[:, 0]
        for layer, ax in enumerate(axes, 1):
            part = {each.direction: number(each) for each in found if each.layer == layer}
            function(part, ax)
            ax.set_title(f"layer {layer}", loc="left", fontsize=10)
            ax.label_outer()
            if layer > 1 and (legend := ax.get_legend()):
                legend.remove()  # One says it for all.
        yield save(figure, stem.replace("_", " "), folder / f"{stem}.png")

    start = jax.tree.map(lambda a: a[:FRAMES], tapes[0])
    figure = Figure(figsize=(12, 6.6))
    figure.suptitle(f"layer 1, forward: {name}", fontsize=11)
    moving = plot.animation(start, figure.add_axes((0, 0.07, 1, 0.86)))
    plot.save_gif(moving, folder / "step.gif")
    yield folder / "step.gif"
