"""Fair timing: in each round every contender takes one turn, in shuffled order.

    warm-up A B C | round 1: B A C | round 2: C A B | ...
    turn:  rest --> run-in, not timed --> timed calls

A slow second of the machine slows a whole round, so ratios are taken within rounds. Before each
turn the process comes to rest: threads of ONNX Runtime and PyTorch spin for up to 30 ms after a
call. The next contender would miss their core. The run-in fills caches and lets the system spread
woken threads over the cores.
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
    rest: Callable[[], None] = settle,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[dict[str, float | Exception]]:
    """Times calls in interleaved rounds, after a warm-up.

    Args:
        calls: by contender; each returns when its work is done.
        rounds: turns of each contender.
        tell: called with the contender before each turn; what it raises ends the measurement.
        rest: called before each turn.
        clock: returns seconds.

    Yields:
        After each round, the seconds of one call, or the error of a contender that failed; it has
        no more turns.
    """
    repeats: dict[str, int] = {}
    order, shuffle = list(calls), random.Random(0).shuffle
    for number in range(rounds + 1):
        results: dict[str, float | Exception] = {}
        for name in order:
            tell(name)
            try:
                rest()
                if number == 0:
                    repeats[name] = _count_repeats(calls[name], clock)
                    continue
                start = clock()
                while clock() - start < RUN_IN:
                    calls[name]()
                results[name] = _time(calls[name], repeats[name], clock) / repeats[name]
            except Exception as error:
                results[name] = error
        order = [name for name in order if not isinstance(results.get(name), Exception)]
        shuffle(order)
        if results:
            yield results


def _count_repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    """Returns how many calls fill a turn."""
    repeats = 1
    while (seconds := _time(call, repeats, clock)) < TURN / 2:
        repeats *= 4
    return max(1, math.ceil(repeats * TURN / seconds))


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return clock() - start
