"""The measurement: who takes part, whether all compute the same, and then the clock.

    for each size:  build and compare everybody --> first step --> forward, train, latency in turns

A library that is not installed, fails, or disagrees with ours is an outcome with a reason.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax

from gru_jax.app.bench import agreement, peak, timing
from gru_jax.app.bench.agreement import Results
from gru_jax.app.bench.contender import Contender, Unavailable
from gru_jax.app.bench.peers import OURS, PEERS, Peer
from gru_jax.app.bench.problem import Problem, Reset, Size, draw_problem
from gru_jax.app.bench.steady import Steady

Measure: TypeAlias = Literal["forward", "train", "first-step", "memory", "latency"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
TIMED: tuple[Measure, ...] = ("first-step", "forward", "train", "latency")
"""What is timed in rounds. The first step comes first: it empties the caches that the rest fill."""

TURNS: tuple[Measure, ...] = ("forward", "train", "latency")
"""What is taken again where the machine was slow: all of these but the first step."""

COUNTED: tuple[Measure, ...] = ("forward", "train")
"""Whose operations are known: a square product takes turns with everybody there, too."""

FIRST_STEPS = 3
"""Rounds of the first step at most, since each of them compiles."""


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
        differences: from ours in the same form, as in `agreement.differences`.
        values: one a round, in seconds; one in bytes for "memory"; measures not taken are missing.
        products: seconds that `peak.make_product` took among these rounds, on the CPU.
        slow: how many of the values are from turns on a machine slower than at its best.
    """

    entry: Entry
    reason: str | None
    differences: dict[str, float]
    values: dict[Measure, list[float]]
    products: tuple[float, ...] = ()
    slow: int = 0


GoOn: TypeAlias = Callable[[str, Entry], bool]
"""Is told what comes next, a stage and whose turn it is; returns False to stop."""


def measure(
    sizes: Sequence[Size],
    peers: Sequence[str],
    measures: Sequence[Measure],
    rounds: int,
    go_on: GoOn,
    known: Mapping[str, Peer] = PEERS,
) -> Iterator[list[Outcome]]:
    """Measures ours and the peers named; yields, after each size, all outcomes so far.

    Args:
        sizes: of the problems.
        peers: keys of `known`.
        measures: what to measure.
        rounds: turns for each contender.
        go_on: asked before each turn; when it says no, the outcomes so far are the last.
        known: the libraries, ours among them.
    """
    libraries = [name for name in known if name == OURS or name in peers]
    on_cpu = jax.default_backend() == "cpu"
    steady = Steady(peak.make_product(), timing.settle) if on_cpu else None
    outcomes: dict[Entry, Outcome] = {}
    for size in sizes:
        entries = [Entry(size, name, form) for name in libraries for form in known[name].resets]
        contenders = _assemble(entries, outcomes, go_on, known)
        stopped = contenders is None or not _measure(
            contenders, outcomes, measures, rounds, go_on, steady
        )
        yield list(outcomes.values())
        if stopped:
            return
        jax.clear_caches()


def count_turns(sizes: int, peers: Sequence[str], measures: Sequence[Measure], rounds: int) -> int:
    """Returns how often `go_on` is asked at most; less if somebody fails or has no gradients."""
    there = [p for name, p in PEERS.items() if name in (OURS, *peers) and missing(p) is None]
    timed: list[Measure] = [name for name in TIMED if name in measures]
    turns = sum(_rounds(name, rounds) + (name != "first-step") for name in timed)
    return sizes * sum(len(peer.resets) for peer in there) * (1 + turns)


def missing(peer: Peer) -> str | None:
    """Returns why a library cannot take part, None if it can."""
    lacking = [p for module, p in peer.modules.items() if importlib.util.find_spec(module) is None]
    if lacking:
        return f"not installed: pip install {' '.join(lacking)}"
    if not peer.in_jax and jax.default_backend() != "cpu":
        return f"is measured on the CPU alone, and JAX is on the {jax.default_backend()}"
    return peer.absent()


def _assemble(
    entries: Sequence[Entry],
    outcomes: dict[Entry, Outcome],
    go_on: GoOn,
    known: Mapping[str, Peer],
) -> dict[Entry, Contender] | None:
    """Builds who can take part and agrees; None if told to stop."""
    contenders: dict[Entry, Contender] = {}
    ours: dict[Reset, Results] = {}
    problem: Problem | None = None
    for entry in entries:
        peer = known[entry.library]
        reason, found = missing(peer), {}
        if reason is None:
            if not go_on("compare", entry):
                return None
            try:
                problem = problem or draw_problem(entry.size)
                contender = peer.build(problem, entry.reset)
                results = agreement.compute(contender, problem)
                if entry.library == OURS:
                    ours[entry.reset] = results
                if entry.reset not in ours:
                    raise Unavailable("nothing to compare it with, since ours failed")
                found = agreement.differences(results, ours[entry.reset])
                reason = agreement.disagreement(found)
                contenders |= {} if reason else {entry: contender}
            except Exception as error:
                reason = _failure(error)
        outcomes[entry] = Outcome(entry, reason, found, {})
    return contenders


def _measure(
    contenders: dict[Entry, Contender],
    outcomes: dict[Entry, Outcome],
    measures: Sequence[Measure],
    rounds: int,
    go_on: GoOn,
    steady: Steady | None,
) -> bool:
    """Adds everybody's values to the outcomes; returns False if told to stop."""
    stopped = False

    def ask(stage: str, entry: Entry | None) -> bool:
        nonlocal stopped
        stopped = stopped or (entry is not None and not go_on(stage, entry))
        return not stopped

    if "memory" in measures:
        for entry, contender in contenders.items():
            size = contender.temp_bytes() if contender.temp_bytes else None
            if size is not None:
                outcomes[entry].values["memory"] = [size]
    for name in TIMED:
        if name not in measures or stopped:
            continue
        calls = {entry: _call(contender, name) for entry, contender in contenders.items()}
        turns: dict[Entry | None, Callable[[], object]] = {
            e: call for e, call in calls.items() if call
        }
        if name in COUNTED and jax.default_backend() == "cpu":
            turns[None] = peak.make_product()
        first = name == "first-step"
        times, failed = timing.interleave(
            turns,
            _rounds(name, rounds),
            partial(ask, name),
            warm_up=not first,
            rest=_forget if first else timing.settle,
            take=steady.take if steady and name in TURNS else timing.once,
        )
        products = tuple(turn.seconds for turn in times.pop(None, ()))
        for entry, taken in times.items():
            if entry and taken:
                found = outcomes[entry]
                outcomes[entry] = found._replace(
                    values=found.values | {name: [turn.seconds for turn in taken]},
                    products=found.products + products,
                    slow=found.slow + sum(turn.slow for turn in taken),
                )
        for entry, error in failed.items():
            if entry:
                del contenders[entry]
                outcomes[entry] = outcomes[entry]._replace(
                    reason=_failure(error), values={}, slow=0
                )
    return not stopped


def _rounds(name: Measure, rounds: int) -> int:
    return min(rounds, FIRST_STEPS) if name == "first-step" else rounds


def _call(contender: Contender, name: Measure) -> Callable[[], object] | None:
    return {
        "forward": contender.forward,
        "train": contender.train,
        "first-step": contender.first_train,
        "latency": contender.step,
    }[name]


def _forget() -> None:
    jax.clear_caches()
    timing.settle()


def _failure(error: Exception) -> str:
    if isinstance(error, Unavailable):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"[:200]
