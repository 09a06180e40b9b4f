"""The measurement: set up every contender, compare its numbers, then time it in rounds.

A contender that is not installed, fails, or disagrees with gru_jax gets a reason and no values.
"""

import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax

from gru_jax.app.bench import agreement, device, timing
from gru_jax.app.bench.calls import Calls, Unavailable
from gru_jax.app.bench.contenders import CONTENDERS, OURS, Contender
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS
from gru_jax.app.bench.names import Measure
from gru_jax.app.bench.problem import AnySize, ImageSize, Reset, draw_problem, numbers


class Stopped(Exception):
    """Ends the measurement with the results so far."""


class Result(NamedTuple):
    """One contender at one size.

    Attributes:
        size: of the problem.
        name: of the library.
        reset: the form; None is a different function.
        reason: why it has no values; None if it took part.
        differences: from gru_jax, as in `agreement.compare`.
        values: seconds of each whole round; fewer rounds where the budget was spent.
    """

    size: AnySize
    name: str
    reset: Reset | None
    reason: str | None
    differences: dict[str, float]
    values: dict[Measure, list[float]]

    @property
    def label(self) -> str:
        """Returns the name in tables."""
        return f"{self.name} ({self.reset})" if self.reset else self.name


Results: TypeAlias = dict[tuple[AnySize, str], Result]
Tell: TypeAlias = Callable[[AnySize, str, str], object]
"""`(size, stage, label)`, called before each turn; it may raise `Stopped`."""


def missing(contender: Contender, size: AnySize) -> str | None:
    """Returns why a contender cannot take part at a size, None if it can."""
    if size.resets and not contender.has_resets:
        return "has no resets"
    if size.members and contender.platforms:
        return "has no ensembles"
    packages = contender.packages.items()
    absent = [package for module, package in packages if not importlib.util.find_spec(module)]
    if absent:
        return f"not installed: pip install {' '.join(absent)}"
    if contender.platforms and (platform := device.platform()) not in contender.platforms:
        return f"runs on {' and '.join(contender.platforms)} only, and JAX is on the {platform}"
    return None


def count_turns(
    sizes: Sequence[AnySize], contenders: Mapping[str, Contender], measures: int, rounds: int
) -> int:
    """Returns the largest number of turns, comparison and warm-up included."""
    pairs = itertools.product(sizes, contenders.values())
    forms = sum(len(each.resets) for size, each in pairs if missing(each, size) is None)
    return forms * (1 + measures * (1 + rounds))


def choose(size: AnySize, peers: Sequence[str] | None) -> dict[str, Contender]:
    """Returns gru_jax and the peers, in the order of the table for such a size.

    Raises:
        ValueError: if a peer does not compute such a problem.
    """
    table = IMAGE_CONTENDERS if isinstance(size, ImageSize) else CONTENDERS
    chosen = (OURS, *(table if peers is None else peers))
    if unknown := [name for name in chosen if name not in table]:
        names = ", ".join(name for name in table if name != OURS)
        raise ValueError(
            f"bench: peers must be among {names} for sizes of {len(numbers(size))} numbers, "
            f"got {unknown[0]}."
        )
    return {name: each for name, each in table.items() if name in chosen}


def measure(
    sizes: Sequence[AnySize],
    contenders: Mapping[str, Contender],
    measures: Sequence[Measure],
    rounds: int,
    tell: Tell,
    *,
    budget: float = math.inf,
) -> Iterator[list[Result]]:
    """Measures the contenders; yields all results so far after each size.

    Args:
        sizes: of the problems.
        contenders: gru_jax first, since the others are compared with it.
        measures: what to time.
        rounds: turns of each contender.
        tell: called before each turn; if it raises `Stopped`, the results so far are the last.
        budget: seconds of each contender, size and measure, after which it has no more turns.
    """
    results: Results = {}
    interleave = partial(timing.interleave, rounds=rounds, budget=budget)
    for size in sizes:
        try:
            calls = _set_up(size, contenders, measures, results, tell)
            for name in measures:
                _time(size, name, calls, results, interleave, tell)
        except Stopped:
            sizes = ()
        yield list(results.values())
        if not sizes:
            return
        jax.clear_caches()


def _set_up(
    size: AnySize,
    contenders: Mapping[str, Contender],
    measures: Sequence[Measure],
    results: Results,
    tell: Tell,
) -> dict[str, Calls]:
    """Adds a result for each contender; returns the calls that agree with gru_jax.

    No training step runs unless it is to be timed, since it may take minutes.
    """
    ready: dict[str, Calls] = {}
    for name, contender in contenders.items():
        for reset in contender.resets:
            result = Result(size, name, reset, missing(contender, size), {}, {})
            if result.reason is None:
                tell(size, "compare", result.label)
                try:
                    problem = draw_problem(size, reset or "before")
                    calls = contender.make(problem)
                    # Where gru_jax cannot run, e.g. without its GPU kernel, its own loops count.
                    known = (ready.get(f"{each} ({reset})") for each in (OURS, "xla"))
                    ours = next(filter(None, known), calls if name in (OURS, "xla") else None)
                    if reset is None:
                        _run_once(calls, measures)
                    elif ours is None:
                        raise Unavailable("nothing to compare with, since gru_jax failed")
                    else:
                        params, train = problem.params, "train" in measures
                        differences = agreement.compare(calls, ours, params, gradients=train)
                        reason = agreement.disagreement(differences)
                        result = result._replace(reason=reason, differences=differences)
                    if result.reason is None:
                        ready[result.label] = calls
                except Exception as error:
                    result = result._replace(reason=_describe(error))
            results[size, result.label] = result
    return ready


def _run_once(calls: Calls, measures: Sequence[Measure]) -> None:
    """Runs each call, so that it is compiled before any clock runs."""
    for name in measures:
        if call := getattr(calls, name):
            call()


def _time(
    size: AnySize,
    name: Measure,
    calls: dict[str, Calls],
    results: Results,
    interleave: Callable[..., Iterator[dict[str, float | Exception]]],
    tell: Tell,
) -> None:
    """Adds the seconds of each round to the results; drops a contender that fails."""
    chosen = {label: call for label, each in calls.items() if (call := getattr(each, name))}
    for each in interleave(chosen, tell=lambda label: tell(size, name, label)):
        for label, value in each.items():
            result = results[size, label]
            if isinstance(value, Exception):
                del calls[label]
                results[size, label] = result._replace(reason=_describe(value), values={})
            else:
                result.values.setdefault(name, []).append(value)


def _describe(error: Exception) -> str:
    if isinstance(error, Unavailable):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"failed: {type(error).__name__}: {lines[0]}"[:200]
