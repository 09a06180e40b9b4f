"""The pages of `gru-jax explain --html`, each for one sequence.

of_run      a test sequence, or the first one of a file
of_weights  the first sequence of a file, or noise
make        calls the one that fits the path
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
from gru_jax.plot.web_page import MAX_STEPS, find_reader

STEPS = 30
"""Length of the noise sequence, if no sequence is given."""


def make(path: Path, source: Path | None) -> plot.Page:
    """Returns the page of a run, or of a file or a folder with weights.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: from `of_run` and `of_weights`.
    """
    if not path.exists():
        raise FileNotFoundError(
            "explain: RUN must be the folder of a run or a file of weights, but there is no "
            f"{path}."
        )
    weights = path.is_file() or (not (path / "config.json").exists() and any(path.iterdir()))
    return (of_weights if weights else of_run)(path, source)


def of_run(folder: Path, source: Path | None) -> plot.Page:
    """Returns the page of a run, for a test sequence or the first sequence of a file.

    The test sequence is the longest from `take` that fits on a page. For a forecast, it is the
    last test window of the first series, or, with a file, the steps after its last target.

    Raises:
        FileNotFoundError: if there is no run.
        ValueError: from `plot.page`, or if the task cannot read the file.
    """
    trained = inference.load_trained(folder)
    task, goal = trained.task, trained.goal
    if source is None:
        data, names = task.load(trained.config).test, ()
    else:
        names, data, _ = inference.read(trained, source)
    horizon = None
    if task.horizon:
        xs, horizon = task.horizon(trained, data)
        title = f"Forecast of {horizon.label} from {horizon.times[len(horizon.past)]}"
    else:
        batch, _ = take(trained, data)
        fitting = np.where(batch.lengths <= MAX_STEPS, batch.lengths, 0)
        row = int(fitting.argmax()) if source is None else 0
        name = names[row] if names else name_sequence(goal, data, row)
        xs, cut = _cut(np.asarray(batch.xs[row, : batch.lengths[row]]))
        title = f"{goal.title}, {name}{cut}"
    return plot.page(
        trained.net,
        trained.params,
        xs,
        inputs=_name_inputs(trained),
        classes=goal.classes or None,
        horizon=horizon,
        title=title,
    )


def _cut(xs: np.ndarray) -> tuple[np.ndarray, str]:
    """Returns at most `MAX_STEPS` steps, and a note for the title if some were cut."""
    if len(xs) <= MAX_STEPS:
        return xs, ""
    return xs[:MAX_STEPS], f", first {MAX_STEPS:,} of {len(xs):,} steps"


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
    xs, cut = _cut(np.asarray(xs))
    return plot.page(net, params, xs, title=title + cut)


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
