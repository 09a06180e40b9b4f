"""Trains a task in memory, with scikit-learn's conventions for settings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from gru_jax import Row
from gru_jax.app import problem as problems
from gru_jax.app.tasks.config import Config
from gru_jax.app.tasks.labelled import LARGEST
from gru_jax.app.tasks.task import Task

RandomState = int | np.random.RandomState | None
"""A seed, or a source of one."""


def train(name: str, task: Task, config: Config) -> tuple[problems.Problem, problems.Trained, list]:
    """Returns the problem, the net with the parameters of the best epoch, and the epochs' rows.

    Args:
        name: the estimator's, for messages.
        task: what to train.
        config: its settings.

    Raises:
        ValueError: if a setting or the data are wrong, or the loss does not stay finite.
    """
    problem, rows = problems.make_problem(task, config), list[Row]()
    loop, progress = problems.make_loop(problem), problems.init_progress(problem)
    progress, reason = problems.train(problem, loop, progress, report=rows.append)
    if reason == "not finite":
        raise ValueError(
            f"{name}: loss must be finite, but is not in epoch {len(rows) + 1}; "
            f"try a learning_rate below {config.learning_rate}."
        )
    return problem, problem.with_params(progress.best_params), rows


def as_python(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings with NumPy scalars, e.g. from a parameter search, as Python scalars."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}


def draw_seed(random_state: RandomState) -> int:
    """Returns a seed itself, or one that the state draws."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def check_values(name: str, xs: Sequence[np.ndarray]) -> None:
    """Raises ValueError if an array holds a number that is too large; NaN is allowed."""
    for case, x in enumerate(xs):
        allowed = np.isnan(x) | (np.abs(x) <= LARGEST)
        if not allowed.all():
            raise ValueError(
                f"{name}: X must hold numbers from -1e18 to 1e18, or NaN for missing ones, got "
                f"{x[~allowed][0]} in case {case}."
            )
