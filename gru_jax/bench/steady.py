"""Whether the machine is at its best.

Other processes, and other virtual machines on the same processor, slow a machine down for seconds
at a time, and not everybody on it alike. So a fixed piece of work is timed after each turn:

    turn, at its best --> counts
    turn, slower      --> wait until it is at its best --> the turn is taken again

What is wasted so is at most half of all the time; from there on slow turns count, too.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable

SLACK = 1.15
"""Times as long as at best that the work may take."""

TRIES = 3
"""Of which the fastest says how long it takes: the first one wakes threads up."""

PATIENCE = 5.0
"""Seconds that may be wasted before there is any time to be half of."""


class Steady:
    """Says which turns count.

    Attributes:
        slow: how many turns have counted that ended on a machine slower than at its best, by whose
            they were.
    """

    def __init__(
        self,
        work: Callable[[], object],
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Takes the piece of work, a clock in seconds, and what waits."""
        self.slow: Counter[Hashable] = Counter()
        self._work, self._clock, self._sleep = work, clock, sleep
        self._best, self._wasted = math.inf, 0.0
        self._start = self._since = clock()

    def __call__(self, key: Hashable) -> bool:
        """Returns whether the turn that has just ended, `key`'s, counts.

        If not, it has waited until the machine is at its best.
        """
        end = self._clock()
        counts = steady = self._is_steady()
        while not steady and self._is_patient():
            self._sleep(0.1)
            steady = self._is_steady()
        if not steady:
            counts, self._since = True, end
            self.slow[key] += 1
        now = self._clock()
        self._wasted += 0 if counts and steady else now - self._since
        self._since = now
        return counts

    def _is_patient(self) -> bool:
        now = self._clock()
        return self._wasted + now - self._since < (now - self._start) / 2 + PATIENCE

    def _is_steady(self) -> bool:
        took = min(self._time() for _ in range(TRIES))
        self._best = min(self._best, took)
        return took <= SLACK * self._best

    def _time(self) -> float:
        start = self._clock()
        self._work()
        return self._clock() - start
