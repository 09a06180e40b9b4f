"""How the settings of the default problem were chosen, on its training set alone.

    python -m gru_jax.app.tasks.cross_validate --layers 2 --noise 0.5

Five folds by recording order: fold k leaves out utterances 6k to 6k+5 of each speaker, because
neighbouring recordings are alike and the test set was recorded apart. On the rest, three
seeds train as `gru-jax train` does: validation split, training, best epoch. The output is the mean
over folds and seeds of the loss (nats) and the accuracy on the utterances left out, for the best
and for the last parameters.
"""

import dataclasses
import sys

import numpy as np

import gru_jax as gj
from gru_jax import Row, take
from gru_jax.app import problem as problems
from gru_jax.app.arguments import read
from gru_jax.app.tasks.config import check
from gru_jax.app.tasks.japanese_vowels import JAPANESE_VOWELS, VowelsConfig
from gru_jax.app.tasks.task import Parts

FOLDS, SEEDS = 5, 3


def split_by_order(dataset: gj.Dataset, fold: int) -> tuple[gj.Dataset, gj.Dataset]:
    """Returns what stays in, and the fold of each class in the order of the data."""
    left_out = np.zeros(len(dataset.xs), bool)
    for label in np.unique(dataset.targets):
        cases = np.flatnonzero(dataset.targets == label)
        left_out[np.array_split(cases, FOLDS)[fold]] = True
    return take(dataset, np.flatnonzero(~left_out)), take(dataset, np.flatnonzero(left_out))


def cross_validate(config: VowelsConfig) -> dict[str, Row]:
    """Returns the mean loss and accuracy on the utterances left out."""
    dataset, _ = gj.load_japanese_vowels()
    rows: dict[str, list[Row]] = {"best": [], "last": []}
    loop = None  # of one shape, and so compiled once
    for fold in range(FOLDS):
        rest, left_out = split_by_order(dataset, fold)
        for seed in range(SEEDS):
            parts = Parts(*gj.split(rest, config.validation, seed=seed), left_out)
            task = JAPANESE_VOWELS._replace(load=lambda _, parts=parts: parts)
            problem = problems.make_problem(task, dataclasses.replace(config, seed=seed))
            loop = loop or problems.make_loop(problem)
            progress, _ = problems.train(problem, loop, problems.init_progress(problem))
            prepared = task.prepare(problem.facts, left_out)
            for name, params in (("best", progress.best_params), ("last", progress.state.params)):
                rows[name].append(problems.measure(problem.with_params(params), prepared))
    return {
        name: {key: float(np.mean([row[key] for row in each])) for key in each[0]}
        for name, each in rows.items()
    }


if __name__ == "__main__":
    prog = "python -m gru_jax.app.tasks.cross_validate"
    config = check(read(VowelsConfig, sys.argv[1:], prog))
    for name, row in cross_validate(config).items():
        print(f"{name}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}", flush=True)
