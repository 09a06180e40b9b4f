"""Fair timing: in each round every contender takes one turn, in shuffled order.

    warm-up A B C | round 1: B A C | round 2: C A B | ...
    turn:  rest --> run-in, not timed --> timed calls

A slow second of the machine slows a whole round, so ratios are taken within rounds. Before each
turn the process comes to rest: threads of ONNX Runtime and PyTorch spin for up to 30 ms after a
call. The next contender would miss their core. The run-in fills caches and lets the system spread
woken threads over the cores.

A contender that has spent the budget has no more turns. If its warm-up alone takes the
budget, the time of that call is its only value.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

TURN = 0.04
"""Seconds of timed calls in a turn, about; a longer call runs once."""

RUN_IN = 0.04
"""Seconds of calls before them that are not timed."""


class Spread(NamedTuple):
    """The median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Returns the median and the quartiles."""
    return Spread(*map(float, np.quantile(values, [0.5, 0.25, 0.75])))


def settle() -> None:
    """Waits until this process uses less than a third of a core, half a second at most."""
    for _ in range(50):
        used, start = time.process_time(), time.perf_counter()
        time.sleep(0.01)
        if time.process_time() - used < (time.perf_counter() - start) / 3:
            return


def interleave(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    tell: Callable[[str], object],
    *,
    budget: float = math.inf,
    rest: Callable[[], None] = settle,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[dict[str, float | Exception]]:
    """Times calls in interleaved rounds, after a warm-up.

    Args:
        calls: by contender; each returns when its work is done.
        rounds: turns of each contender.
        tell: called with the contender before each turn; what it raises ends the measurement.
        budget: seconds of each contender's warm-up and turns, after which it has no more turns.
        rest: called before each turn.
        clock: returns seconds.

    Yields:
        After each round, the seconds of one call, or the error of a contender that failed; it has
        no more turns. After the warm-up, the errors, and the seconds of each contender that has
        spent its budget.
    """
    repeats: dict[str, int] = {}
    spent = dict.fromkeys(calls, 0.0)
    order, shuffle = list(calls), random.Random(0).shuffle
    for number in range(rounds + 1):
        results: dict[str, float | Exception] = {}
        for name in order:
            tell(name)
            try:
                rest()
                start = clock()
                if number == 0:
                    seconds = _warm_up(calls[name], clock)
                    repeats[name] = max(1, math.ceil(TURN / seconds))
                else:
                    while clock() - start < RUN_IN:
                        calls[name]()
                    seconds = _time(calls[name], repeats[name], clock)
                spent[name] += clock() - start
                if number or spent[name] >= budget:
                    results[name] = seconds
            except Exception as error:
                results[name] = error
                spent[name] = math.inf
        order = [name for name in order if spent[name] < budget]
        shuffle(order)
        if results:
            yield results


def _warm_up(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Returns the seconds of one call, from calls that fill half a turn."""
    repeats = 1
    while (seconds := _time(call, repeats, clock)) * repeats < TURN / 2:
        repeats *= 4
    return seconds


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Returns the seconds of one call, the mean of `repeats` calls."""
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats
