"""The measurement: set up every contender, compare its numbers, then time it in rounds.

A contender that is not installed, fails, or disagrees with gru_jax gets a reason and no values.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax

from gru_jax.app.bench import agreement, timing
from gru_jax.app.bench.calls import Calls, Unavailable
from gru_jax.app.bench.contenders import CONTENDERS, OURS, Contender
from gru_jax.app.bench.problem import Reset, Size, draw_problem

Measure: TypeAlias = Literal["forward", "train"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


class Stopped(Exception):
    """Ends the measurement with the results so far."""


class Result(NamedTuple):
    """One contender at one size.

    Attributes:
        size: of the problem.
        name: of the library.
        reset: the form.
        reason: why it has no values; None if it took part.
        differences: from gru_jax, as in `agreement.compare`.
        values: seconds of each whole round.
    """

    size: Size
    name: str
    reset: Reset
    reason: str | None
    differences: dict[str, float]
    values: dict[Measure, list[float]]

    @property
    def label(self) -> str:
        """Returns the name in tables."""
        return f"{self.name} ({self.reset})"


Results: TypeAlias = dict[tuple[Size, str], Result]
Tell: TypeAlias = Callable[[Size, str, str], object]
"""`(size, stage, label)`, called before each turn; it may raise `Stopped`."""


def missing(contender: Contender) -> str | None:
    """Returns why a contender cannot take part, None if it can."""
    packages = contender.packages.items()
    absent = [package for module, package in packages if not importlib.util.find_spec(module)]
    if absent:
        return f"not installed: pip install {' '.join(absent)}"
    if not contender.in_jax and jax.default_backend() != "cpu":
        return f"runs on the CPU only, and JAX is on the {jax.default_backend()}"
    return None


def count_turns(sizes: int, contenders: Mapping[str, Contender], measures: int, rounds: int) -> int:
    """Returns the largest number of turns, comparison and warm-up included."""
    forms = sum(len(each.resets) for each in contenders.values() if missing(each) is None)
    return sizes * forms * (1 + measures * (1 + rounds))


def choose(peers: Sequence[str]) -> dict[str, Contender]:
    """Returns gru_jax and the peers, in the order of the table."""
    return {name: each for name, each in CONTENDERS.items() if name in (OURS, *peers)}


def measure(
    sizes: Sequence[Size],
    contenders: Mapping[str, Contender],
    measures: Sequence[Measure],
    rounds: int,
    tell: Tell,
) -> Iterator[list[Result]]:
    """Measures the contenders; yields all results so far after each size.

    Args:
        sizes: of the problems.
        contenders: gru_jax first, since the others are compared with it.
        measures: what to time.
        rounds: turns of each contender.
        tell: called before each turn; if it raises `Stopped`, the results so far are the last.
    """
    results: Results = {}
    for size in sizes:
        try:
            calls = _set_up(size, contenders, results, tell)
            for name in measures:
                _time(size, name, calls, results, rounds, tell)
        except Stopped:
            sizes = ()
        yield list(results.values())
        if not sizes:
            return
        jax.clear_caches()


def _set_up(
    size: Size, contenders: Mapping[str, Contender], results: Results, tell: Tell
) -> dict[str, Calls]:
    """Adds a result for each contender; returns the calls that agree with gru_jax."""
    ready: dict[str, Calls] = {}
    for name, contender in contenders.items():
        for reset in contender.resets:
            result = Result(size, name, reset, missing(contender), {}, {})
            if result.reason is None:
                tell(size, "compare", result.label)
                try:
                    problem = draw_problem(size, reset)
                    calls = contender.make(problem)
                    ours = calls if name == OURS else ready.get(f"{OURS} ({reset})")
                    if ours is None:
                        raise Unavailable("nothing to compare with, since gru_jax failed")
                    differences = agreement.compare(calls, ours, problem.params)
                    reason = agreement.disagreement(differences)
                    result = result._replace(reason=reason, differences=differences)
                    if reason is None:
                        ready[result.label] = calls
                except Exception as error:
                    result = result._replace(reason=_describe(error))
            results[size, result.label] = result
    return ready


def _time(
    size: Size, name: Measure, calls: dict[str, Calls], results: Results, rounds: int, tell: Tell
) -> None:
    """Adds the seconds of each round to the results; drops a contender that fails."""
    chosen = {label: call for label, each in calls.items() if (call := getattr(each, name))}
    turns = timing.interleave(chosen, rounds, lambda label: tell(size, name, label))
    for each in turns:
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
