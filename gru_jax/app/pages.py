"""The pages of `gru-jax explain --html`, each for one sequence.

of_run      the longest of the first test sequences, or the first one of a file
of_weights  the first sequence of a file, or noise
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gru_jax as gj
from gru_jax import interop, plot
from gru_jax.app import inference
from gru_jax.app.explain import name_sequence, take
from gru_jax.app.problem import Trained
from gru_jax.plot.web_page import find_reader

STEPS = 30
"""Length of the noise sequence, if no sequence is given."""


def of_run(folder: Path, source: Path | None) -> plot.Page:
    """Returns the page of a run, for a test sequence or the first sequence of a file.

    The test sequence is the longest of those that `take` returns.

    Raises:
        FileNotFoundError: if there is no run.
        ValueError: from `plot.page`, or if the task cannot read the file.
    """
    trained = inference.load_trained(folder)
    goal, name = trained.goal, ""
    if source is None:
        data = trained.task.load(trained.config).test
    else:
        (name, *_), data, _ = inference.read(trained, source)
    batch, _ = take(trained, data)
    row = int(np.argmax(batch.lengths)) if source is None else 0
    if source is None:
        name = name_sequence(goal, data, row)
    return plot.page(
        trained.net,
        trained.params,
        np.asarray(batch.xs[row, : batch.lengths[row]]),
        inputs=_name_inputs(trained),
        classes=goal.classes or None,
        title=f"{goal.title}, {name}",
    )


def _name_inputs(trained: Trained) -> Sequence[str] | None:
    """Returns the features' names, if the task knows them and the first GRU reads them."""
    facts, net = trained.facts, trained.net
    assert net.architecture is not None
    reader = find_reader(net.architecture, trained.params)
    names = trained.goal.inputs or facts.get("inputs") or facts.get("channels")
    fits = reader and reader.recurrent and names and reader.shape == (len(names),)
    return names if fits else None


def of_weights(path: Path, source: Path | None) -> plot.Page:
    """Returns the page of the net in a file, for the first sequence of another file or for noise.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: from `interop.read` and `plot.page`.
    """
    net, params = interop.read(path)
    size, title = _count_inputs(net, params), path.name
    if source is None:
        xs: Any = np.random.default_rng(0).standard_normal((STEPS, size), np.float32)
        title += ", on noise"
    else:
        (name, xs), *_ = gj.read_sequences(source, size).items()
        title += f", {name}"
    return plot.page(net, params, xs, title=title)


def _count_inputs(net: Any, params: Any) -> int:
    """Returns the number of features per step."""
    reader = find_reader(net.architecture, params)
    shape = reader.shape if reader else (None,)
    if len(shape) != 1 or shape[0] is None:
        raise ValueError(
            f"explain: net must take vectors of a fixed size, got {shape}; for other inputs, give "
            "the folder of a run."
        )
    return shape[0]
