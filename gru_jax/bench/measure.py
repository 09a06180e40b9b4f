"""The measurement: who takes part, whether all compute the same, and then the clock.

    for each size:  build and compare everybody --> first step --> forward, train, latency in turns

A library that is not installed, fails, or disagrees with ours is an outcome with a reason.
"""

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np

from gru_jax.bench.contender import Contender
from gru_jax.bench.peers import OURS, PEERS, Peer
from gru_jax.bench.problem import Problem, Reset, Size, draw_problem
from gru_jax.bench.timing import interleave, settle

Measure: TypeAlias = Literal["forward", "train", "first-step", "memory", "latency"]
MEASURES: tuple[Measure, ...] = ("forward", "train", "first-step", "memory", "latency")
TURNS: tuple[Measure, ...] = ("forward", "train", "latency")
"""The measures that are timed in rounds."""

FIRST_STEPS = 3
"""Rounds of the first step at most, since each of them compiles."""

TOLERANCE = 1e-4
"""The largest difference that counts as agreement, of states and, relative to the largest entry of
each array, of gradients. Sums in float32 in another order differ by some 1e-7 times the root of
their length, 1e-5 for the hundred thousand terms of a weight's gradient; a gate, a sign or a bias
that is wrong shows at 1e-2 or more."""


class Entry(NamedTuple):
    """A library in one form at one size."""

    size: Size
    library: str
    reset: Reset


class Outcome(NamedTuple):
    """What became of an entry.

    Attributes:
        entry: whose.
        reason: why there are no values, None if there are.
        differences: from ours in the same form, of "states", of a "step" and of "gradients".
        values: one a round, in seconds; one in bytes for "memory"; measures not taken are missing.
    """

    entry: Entry
    reason: str | None
    differences: dict[str, float]
    values: dict[Measure, list[float]]


Tell: TypeAlias = Callable[[Entry, str], bool]
"""Is told what comes next, `(entry, stage)`; returns False to stop."""


def measure(
    sizes: Sequence[Size],
    peers: Sequence[str],
    measures: Sequence[Measure],
    rounds: int,
    tell: Tell,
    known: Mapping[str, Peer] = PEERS,
) -> list[Outcome]:
    """Measures ours and the peers named; when told to stop, returns what there is.

    Args:
        sizes: of the problems.
        peers: keys of `known`.
        measures: what to measure.
        rounds: turns for each contender.
        tell: is told of each turn before it begins.
        known: the libraries.
    """
    libraries = [name for name in known if name == OURS or name in peers]
    # A first step that finds its program on the disk has compiled nothing.
    cached = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        outcomes: list[Outcome] = []
        for size in sizes:
            entries = [
                Entry(size, name, reset) for name in libraries for reset in known[name].resets
            ]
            some, stopped = _measure_size(
                draw_problem(size), entries, measures, rounds, tell, known
            )
            outcomes += some
            jax.clear_caches()
            if stopped:
                break
        return outcomes
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)


def count_turns(entries: int, sizes: int, measures: Sequence[Measure], rounds: int) -> int:
    """Returns how often `tell` is called if everybody takes part."""
    timed = sum(name in TURNS for name in measures) * (rounds + 1)
    first = min(rounds, FIRST_STEPS) if "first-step" in measures else 0
    return sizes * entries * (1 + timed + first)


def missing(peer: Peer) -> str | None:
    """Returns why a library cannot take part, None if it can."""
    if importlib.util.find_spec(peer.module) is None:
        return f"not installed: pip install {peer.package}"
    if not peer.in_jax and jax.default_backend() != "cpu":
        return f"is used on the CPU alone, and JAX is on {jax.default_backend()}"
    return None


def disagreement(differences: Mapping[str, float]) -> str | None:
    """Returns in what a contender disagrees, None if it agrees; NaN disagrees."""
    wrong = [f"{name} by {d:.1g}" for name, d in differences.items() if not d <= TOLERANCE]
    return f"disagrees with ours: {', '.join(wrong)}" if wrong else None


class _Results(NamedTuple):
    hs: np.ndarray
    step: np.ndarray
    gradients: tuple[Any, np.ndarray] | None


def _measure_size(
    problem: Problem,
    entries: Sequence[Entry],
    measures: Sequence[Measure],
    rounds: int,
    tell: Tell,
    known: Mapping[str, Peer],
) -> tuple[list[Outcome], bool]:
    outcomes: dict[Entry, Outcome] = {}
    contenders: dict[Entry, Contender] = {}
    ours: dict[Reset, _Results] = {}
    for entry in entries:
        peer = known[entry.library]
        reason, differences = missing(peer), {}
        if reason is None:
            if not tell(entry, "compare"):
                return list(outcomes.values()), True
            try:
                contender = peer.build(problem, entry.reset)
                results = _run(contender, problem)
                differences = _differences(results, ours.setdefault(entry.reset, results))
                reason = disagreement(differences)
                contenders |= {} if reason else {entry: contender}
            except Exception as error:
                reason = _failure(error)
        outcomes[entry] = Outcome(entry, reason, differences, {})

    def fail(failed: Mapping[Entry, Exception]) -> None:
        for entry, error in failed.items():
            del contenders[entry]
            outcomes[entry] = outcomes[entry]._replace(reason=_failure(error), values={})

    stopped = False

    def go_on(stage: str, entry: Entry) -> bool:
        nonlocal stopped
        stopped = stopped or not tell(entry, stage)
        return not stopped

    if "first-step" in measures:
        times, failed = _first_steps(contenders, min(rounds, FIRST_STEPS), go_on)
        _keep(outcomes, "first-step", times)
        fail(failed)
    if "memory" in measures:
        for entry, contender in contenders.items():
            if contender.temp_bytes:
                outcomes[entry].values["memory"] = [contender.temp_bytes()]
    for name in (name for name in TURNS if name in measures and not stopped):
        calls = {entry: _call(contender, name) for entry, contender in contenders.items()}
        calls = {entry: call for entry, call in calls.items() if call}
        times, failed = interleave(calls, rounds, partial(go_on, name))
        _keep(outcomes, name, times)
        fail(failed)
    return list(outcomes.values()), stopped


def _run(contender: Contender, problem: Problem) -> _Results:
    hs = contender.hs(contender.forward())
    step = np.asarray(contender.step()).reshape(problem.h.shape)
    if contender.train is None or contender.gradients is None:
        return _Results(hs, step, None)
    return _Results(hs, step, contender.gradients(contender.train()))


def _differences(theirs: _Results, ours: _Results) -> dict[str, float]:
    differences = {
        "states": float(np.abs(theirs.hs - ours.hs).max()),
        "step": float(np.abs(theirs.step - ours.step).max()),
    }
    if theirs.gradients and ours.gradients:
        # A leaf that a library lacks, such as nnx' b_h, is not compared.
        pairs = [
            (np.asarray(a), np.asarray(b))
            for a, b in zip(
                (*theirs.gradients[0], theirs.gradients[1]),
                (*ours.gradients[0], ours.gradients[1]),
                strict=True,
            )
            if a is not None
        ]
        differences["gradients"] = max(
            float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs
        )
    return differences


def _call(contender: Contender, name: Measure) -> Callable[[], object] | None:
    calls = {"forward": contender.forward, "train": contender.train, "latency": contender.step}
    return calls[name]


def _first_steps(
    contenders: Mapping[Entry, Contender], rounds: int, go_on: Callable[[str, Entry], bool]
) -> tuple[dict[Entry, list[float]], dict[Entry, Exception]]:
    times: dict[Entry, list[float]] = {e: [] for e, c in contenders.items() if c.fresh}
    failed: dict[Entry, Exception] = {}
    for _ in range(rounds):
        for entry in times:
            fresh = contenders[entry].fresh
            if entry in failed or fresh is None:
                continue
            if not go_on("first-step", entry):
                return times, failed
            try:
                call = fresh()
                settle()
                start = time.perf_counter()
                call()
                times[entry].append(time.perf_counter() - start)
            except Exception as error:
                failed[entry] = error
    return times, failed


def _keep(
    outcomes: Mapping[Entry, Outcome], name: Measure, times: Mapping[Entry, list[float]]
) -> None:
    for entry, values in times.items():
        if values:
            outcomes[entry].values[name] = values


def _failure(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"[:200]
