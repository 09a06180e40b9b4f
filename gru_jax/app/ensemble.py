"""Several seeds of a task as one program: `--seeds 5` trains the members seed, ..., seed + 4.

    Problem --make_members--> one Problem a seed --init_progress, train--> Progress [members, ...]

Each member is the run that `--seed` would train alone: it has its own split of the data, its own
first parameters, its own order of batches and its own noise. Without members there is one seed, and
`problem` does the work.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gru_jax as gj
from gru_jax import Metrics, Params, TrainStep
from gru_jax.app import problem as problems
from gru_jax.app.problem import Problem
from gru_jax.app.tasks.task import Facts

STACK = 64
"""Most steps in one call of the compiled loop."""


def make_members(problem: Problem) -> tuple[Problem, ...]:
    """Returns the problem of each seed; () if there is one seed.

    Raises:
        ValueError: if the seeds' data differ in more than numbers, so that no program fits all.
    """
    config, count = problem.config, problem.config.seeds
    if count == 1:
        return ()
    members = tuple(
        problems.make_problem(
            problem.task, dataclasses.replace(config, seed=config.seed + i, seeds=1)
        )
        for i in range(count)
    )
    for member in members[1:]:
        for name in members[0].facts:
            _compare(name, members[0].facts, member.facts)
        if member.net != members[0].net or member.steps != members[0].steps:
            raise ValueError(
                f"train: seeds must be 1 for these data, since seed {member.config.seed} needs "
                f"another net or another number of steps, got {count}."
            )
    return members


def _compare(name: str, facts: Facts, others: Facts) -> None:
    if facts[name] == others[name]:
        return
    shapes = {_numbers(each[name]).shape for each in (facts, others)}
    if len(shapes) > 1 or shapes == {()}:
        raise ValueError(
            f"train: seeds must be 1 for these data, since they draw parts with other {name}."
        )


def _numbers(fact: Any) -> np.ndarray:
    """Returns a list of numbers as an array; anything else as a scalar."""
    try:
        return np.array(fact, np.float32)
    except (TypeError, ValueError):
        return np.zeros(())


def init_progress(
    problem: Problem, members: Sequence[Problem], params: Params | None = None
) -> gj.Progress:
    """Returns the progress of a training that has not begun, as `problem.init_progress` does."""
    if not members:
        return problems.init_progress(problem, params)
    states = [problems.init_progress(member, params).state for member in members]
    return gj.init_progress(jax.tree.map(lambda *a: jnp.stack(a), *states))


def train(
    problem: Problem, members: Sequence[Problem], progress: gj.Progress, **hooks: Any
) -> tuple[gj.Progress, str]:
    """Trains to the last epoch, or until patience or a hook of `fit` ends it."""
    if not members:
        return problems.train(problem, problems.make_loop(problem), progress, **hooks)

    def validate(params: Params) -> dict[str, np.ndarray]:
        rows = [
            problems.measure(member.with_params(take(params, i)), member.validation)
            for i, member in enumerate(members)
        ]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    return gj.fit(
        progress,
        _make_loop(members),
        lambda epoch: _join_epoch(members, epoch),
        validate,
        epochs=problem.config.epochs,
        monitor=problem.goal.monitor,
        mode=problem.goal.mode,
        patience=problem.config.patience,
        **hooks,
    )


def take(tree: Any, index: int) -> Any:
    """Returns one member's arrays."""
    return jax.tree.map(lambda a: a[index], tree)


def _differing(members: Sequence[Problem]) -> list[str]:
    """Returns the names of the facts in which members differ."""
    first = members[0].facts
    return [name for name in first if any(each.facts[name] != first[name] for each in members)]


def _make_loop(members: Sequence[Problem]) -> TrainStep:
    """Builds the compiled loop; its batches have the facts in which members differ beside them."""
    problem = members[0]

    def step(state: gj.TrainState, batch: Any) -> tuple[gj.TrainState, Metrics]:
        own = problem._replace(facts=problem.facts | batch[1])
        return problems.make_step(own)(state, batch[0])

    return gj.make_train_loop(step, ensemble=True)


def _join_epoch(members: Sequence[Problem], epoch: int) -> Iterator[Any]:
    """Yields the members' stacks of batches side by side, each with the members' facts."""
    facts = {
        name: np.stack([_numbers(member.facts[name]) for member in members])
        for name in _differing(members)
    }
    epochs = (member.task.batches(member.config, member.train, epoch) for member in members)
    # Step by step, since members may draw batches of different lengths in a different order.
    steps = zip(*map(problems.unstack, epochs), strict=True)
    joined = (jax.tree.map(_join, *batches) for batches in steps)
    for _, alike in itertools.groupby(joined, key=lambda batch: jax.tree.map(np.shape, batch)):
        while stack := list(itertools.islice(alike, STACK)):
            batches = jax.tree.map(lambda *a: np.stack(a, 1), *stack)
            repeat = {name: np.repeat(each[:, None], len(stack), 1) for name, each in facts.items()}
            yield batches, repeat


def _join(*arrays: Any) -> np.ndarray:
    """Stacks arrays, with zeros behind shorter ones: members pad to their own longest sequence."""
    shapes = [np.shape(a) for a in arrays]
    if len({shape[:1] for shape in shapes}) > 1:
        raise ValueError(
            f"train: seeds must draw batches of one size, got {sorted({s[0] for s in shapes})}."
        )
    whole = np.max(shapes, axis=0, initial=0).astype(int)
    joined = np.zeros((len(arrays), *whole), np.asarray(arrays[0]).dtype)
    for i, (a, shape) in enumerate(zip(arrays, shapes, strict=True)):
        joined[(i, *map(slice, shape))] = a
    return joined
