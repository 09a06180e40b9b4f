"""How the settings of the default problem were chosen, on its training set alone.

    python -m gru_jax.app.tasks.cross_validate --layers 2 --noise 0.5

Five folds by recording order: fold k leaves out utterances 6k to 6k+5 of each speaker, because
neighbouring recordings are alike and the test set was recorded apart. With what is left, three
seeds go through what `gru-jax train` does: validation split, training, best epoch. Printed are the
means over folds and seeds of the loss (nats) and the accuracy on the utterances left out, for the
best and for the last parameters.
"""

import dataclasses
from functools import partial

import numpy as np
import tyro

from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.data.batching import Dataset, split, take
from gru_jax.data.japanese_vowels import load_japanese_vowels
from gru_jax.training.fit import Row, fit

FOLDS, SEEDS = 5, 3


def split_by_order(dataset: Dataset, fold: int) -> tuple[Dataset, Dataset]:
    """Returns what stays in, and the fold of each class in the order of the data."""
    left_out = np.zeros(len(dataset.xs), bool)
    for label in np.unique(dataset.targets):
        cases = np.flatnonzero(dataset.targets == label)
        left_out[np.array_split(cases, FOLDS)[fold]] = True
    return take(dataset, np.flatnonzero(~left_out)), take(dataset, np.flatnonzero(left_out))


def cross_validate(config: task.Config) -> dict[str, Row]:
    """Returns the mean loss and accuracy on the utterances left out."""
    dataset, _ = load_japanese_vowels()
    rows: dict[str, list[Row]] = {"best": [], "last": []}
    loop = None
    for fold in range(FOLDS):
        rest, left_out = split_by_order(dataset, fold)
        for seed in range(SEEDS):
            seeded = dataclasses.replace(config, seed=seed)
            parts = split(rest, config.validation, seed=seed)
            problem = task.make_problem(*parts, left_out)
            loop = loop or task.make_loop(config, problem)
            progress, _ = fit(
                task.begin(seeded, problem),
                loop,
                partial(task.epoch_batches, seeded, problem),
                partial(task.validate, config, problem),
                epochs=config.epochs,
                monitor=task.MONITOR,
                patience=config.patience,
            )
            for name, params in (("best", progress.best_params), ("last", progress.state.params)):
                rows[name].append(task.evaluate(config, params, problem.test))
    return {
        name: {key: float(np.mean([row[key] for row in each])) for key in each[0]}
        for name, each in rows.items()
    }


if __name__ == "__main__":
    name = "python -m gru_jax.app.tasks.cross_validate"
    config = task.check(tyro.cli(task.Config, prog=name, description=__doc__))
    for name, row in cross_validate(config).items():
        print(f"{name}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}", flush=True)
