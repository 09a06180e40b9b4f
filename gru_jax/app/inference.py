"""Evaluates a trained run, and predicts from a user's file.

    load_trained --> evaluate, read --> predict

Only `best.safetensors` is needed: the net with the best parameters and, in its header, the task,
the settings and the facts about the data.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import problem as problems
from gru_jax.app.folder import find, one_error
from gru_jax.app.problem import Trained
from gru_jax.app.settings import from_settings
from gru_jax.app.tasks.task import Input


def load_trained(folder: Path | str) -> Trained:
    """Returns a run's best parameters with their net, settings and facts.

    Raises:
        FileNotFoundError: if there is no run, or it has saved nothing yet.
        ValueError: if its `best.safetensors` is damaged.
    """
    path = find(Path(folder))
    net, params = interop.load(path)
    with one_error(path):
        header = interop.load_metadata(path)
        task, config = from_settings(json.loads(header["settings"]))
        facts = json.loads(header["facts"])
        task.goal(facts)  # Raises if the facts do not fit.
        assert isinstance(net, gj.Layer)
        return Trained(task, config, facts, net, params)


def evaluate(trained: Trained, data: Any) -> dict[str, Any]:
    """Returns the mean metrics, the task's baselines and the number of parameters.

    For classification, also returns the confusion matrix.
    """
    task, config, facts = trained[:3]
    count, result = len(trained.goal.classes), dict[str, Any](task=task.name)
    if task.test:
        row = task.test(trained, data)
    else:
        row = problems.measure(trained, task.prepare(facts, data))
    result |= {f"test_{name}": value for name, value in row.items()}
    for name, row in task.baselines(config, facts, data).items():
        result |= {f"test_{metric}_{name}": value for metric, value in row.items()}
    result["parameters"] = gj.count_parameters(trained.params)
    if count:
        answers = predict(trained, data).argmax(-1)
        result["confusion_matrix"] = gj.confusion_matrix(data.targets, answers, count).tolist()
    return result | task.derive(result)


def read(trained: Trained, path: Path) -> Input:
    """Returns the content of a user's file, as the task reads it."""
    return trained.task.read(trained.config, trained.facts, path)


def predict(trained: Trained, data: Any) -> np.ndarray:
    """Returns the task's answers for data, one row per sequence, as `problem.answer` does."""
    return problems.answer(trained, trained.task.prepare(trained.facts, data))
