"""Turns that a slow machine spoils are taken again.

Other processes, and other virtual machines on the same processor, slow a machine down for seconds
at a time, and not everybody on it alike. So a fixed piece of work is timed after each turn:

    turn, at its best --> counts
    turn, slower      --> wait until it is at its best --> the turn is taken again

"At its best" is the best so far. What is wasted so is at most half of all the time, and not long
for one turn; from there on it counts as it is, and is known to be slow.
"""

import math
import time
from collections.abc import Callable

from gru_jax.app.bench.timing import Turn

SLACK = 1.15
"""Times as long as at best that the work may take."""

TRIES = 3
"""Of which the fastest says how long it takes: the first one wakes threads up."""

PATIENCE = 5.0
"""Seconds that may be wasted before there is any time to be half of."""

LONGEST = 20.0
"""Seconds that may be wasted on one turn."""


class Steady:
    """Takes turns until one counts."""

    def __init__(
        self,
        work: Callable[[], object],
        rest: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Takes the piece of work, what lets threads come to rest before it, and a clock."""
        self._work, self._rest, self._clock, self._sleep = work, rest, clock, sleep
        self._best, self._wasted, self._start = math.inf, 0.0, clock()

    def take(self, turn: Callable[[], float]) -> Turn:
        """Returns the first turn, of those that `turn` takes and times, that counts."""
        start = self._clock()
        while True:
            began = self._clock()
            seconds = turn()
            ended = self._clock()
            self._rest()
            if self._is_steady():
                self._wasted += began - start
                return Turn(seconds)
            if not self._wait(start):
                self._wasted += began - start + self._clock() - ended
                return Turn(seconds, slow=True)

    def _wait(self, start: float) -> bool:
        """Returns whether the machine is at its best before patience with this turn ends."""
        while True:
            now = self._clock()
            patience = (now - self._start) / 2 + PATIENCE - self._wasted
            if now - start >= min(patience, LONGEST):
                return False
            self._sleep(0.1)
            if self._is_steady():
                return True

    def _is_steady(self) -> bool:
        took = min(self._time() for _ in range(TRIES))
        self._best = min(self._best, took)
        return took <= SLACK * self._best

    def _time(self) -> float:
        start = self._clock()
        self._work()
        return self._clock() - start
