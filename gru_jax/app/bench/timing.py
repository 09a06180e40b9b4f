"""Fair timing: everybody takes turns, and what is said of the times.

    warm-up A B C | round 1: A B C | round 2: A B C | ...

A machine that slows down for a second slows all of a round, so ratios are taken within rounds; and
`steady` has turns taken again. Before each turn the process comes to rest: the threads of ONNX
Runtime and PyTorch go on spinning for up to 30 ms after a call, on a core that whoever came next
would miss. The first calls after that are not timed: they fill caches, and the system takes some
ticks of its clock to find each of the threads that wake up a core of its own. A training loop has
that behind it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

TURN = 0.04
"""Seconds that one turn takes at least, about: short calls are repeated within it."""

RUN_IN = 0.04
"""Seconds that a turn begins with, not timed: the last of its calls is the first to pass them."""

Key = TypeVar("Key")


class Turn(NamedTuple):
    """What a turn took."""

    seconds: float
    slow: bool = False
    """Whether it ended on a machine slower than at its best, and counts all the same."""


class Spread(NamedTuple):
    """The median and the quartiles around it."""

    median: float
    low: float
    high: float


def settle() -> None:
    """Waits until this process uses less than a third of a core, half a second at most."""
    for _ in range(50):
        used, start = time.process_time(), time.perf_counter()
        time.sleep(0.01)  # Two and a half ticks of a clock that counts processor time by 4 ms.
        if time.process_time() - used < (time.perf_counter() - start) / 3:
            return


def once(turn: Callable[[], float]) -> Turn:
    """Takes a turn, and it counts."""
    return Turn(turn())


def interleave(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    go_on: Callable[[Key], bool],
    *,
    warm_up: bool = True,
    rest: Callable[[], None] = settle,
    take: Callable[[Callable[[], float]], Turn] = once,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[Key, list[Turn]], dict[Key, Exception]]:
    """Times calls in turns.

    Args:
        calls: what to time; each returns when its work is done.
        rounds: turns for each.
        go_on: asked before each turn, the warm-up's too, with whose it is; False ends it all.
        warm_up: find first how many calls fill a turn, and run each turn in; if not, a turn is one
            call.
        rest: called before each turn.
        take: takes each turn of a round, which returns its seconds, once or until one counts.
        clock: in seconds.

    Returns:
        The turns that counted, with the seconds of a call, for each contender one a whole round;
        and who failed.
    """
    times: dict[Key, list[Turn]] = {key: [] for key in calls}
    repeats = dict.fromkeys(calls, 1)
    failed: dict[Key, Exception] = {}
    for number in range(-int(warm_up), rounds):
        for key, call in calls.items():
            if key in failed:
                continue
            if not go_on(key):
                return {k: v[: max(number, 0)] for k, v in times.items() if k not in failed}, failed
            try:
                if number < 0:
                    rest()
                    repeats[key] = _find_repeats(call, clock)
                else:
                    turn = partial(_turn, call, repeats[key], rest, clock, run_in=warm_up)
                    times[key].append(take(turn))
            except Exception as error:
                failed[key] = error
    return {key: values for key, values in times.items() if key not in failed}, failed


def _turn(
    call: Callable[[], object],
    repeats: int,
    rest: Callable[[], None],
    clock: Callable[[], float],
    *,
    run_in: bool,
) -> float:
    rest()
    start = clock()
    while run_in and clock() - start < RUN_IN:
        call()
    return _time(call, repeats, clock) / repeats


def spread(values: Sequence[float]) -> Spread:
    """Returns the median and the quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Returns how many times `base` a contender takes: the median of the rounds' ratios."""
    return float(np.median(np.divide(times, base)))


def geometric_mean(ratios: Sequence[float]) -> float:
    """Returns the mean of ratios; what is twice as fast and then half as fast has 1."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _find_repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    repeats = 1
    while (took := _time(call, repeats, clock)) < TURN / 2:
        repeats *= 4
    return max(1, math.ceil(repeats * TURN / took))


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return clock() - start
