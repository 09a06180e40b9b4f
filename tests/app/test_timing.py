"""The benchmark's clock: turns, rests, and turns that are taken again; what is said of times."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from gru_jax.app.bench import timing
from gru_jax.app.bench.steady import LONGEST, Steady
from gru_jax.app.bench.timing import Turn


def test_a_spread_is_the_median_and_the_quartiles():
    assert timing.spread([5, 1, 4, 2, 3]) == (3, 2, 4)
    assert timing.spread([1, 2, 3, 10]) == (2.5, 1.75, 4.75)
    assert timing.spread([7]) == (7, 7, 7)


def test_a_ratio_is_taken_within_rounds():
    """The second round was ten times slower for both, which says nothing of either."""
    assert timing.ratio([2, 20, 6], [1, 10, 2]) == 2
    assert np.median([2, 20, 6]) / np.median([1, 10, 2]) == 3


def test_the_geometric_mean_of_a_ratio_and_its_inverse_is_one():
    assert timing.geometric_mean([4, 0.25]) == pytest.approx(1)
    assert timing.geometric_mean([1, 2, 32]) == pytest.approx(4)


class Clock:
    """Time that passes only in calls, more of it in the first after a rest; a record of them."""

    def __init__(self, **seconds):
        self.now, self.log, self.rests = 0.0, [], 0
        self.calls = {name: self.make(name, took) for name, took in seconds.items()}

    def make(self, name, took):
        def call():
            self.log.append(name)
            if took is None:
                raise MemoryError("too much")
            self.now += took + 0.004 * (self.log[-2] == "-")

        return call

    def rest(self):
        self.log.append("-")

    def interleave(self, rounds, go_on=lambda _: True, **options):
        """Returns the times, slow turns' among them, and who failed."""
        turns, failed = timing.interleave(
            self.calls, rounds, go_on, rest=self.rest, clock=lambda: self.now, **options
        )
        return {name: [turn.seconds for turn in taken] for name, taken in turns.items()}, failed


def test_contenders_take_turns_after_a_rest_and_a_warm_up():
    clock = Clock(a=0.05, b=0.06)
    times, failed = clock.interleave(2)
    assert "".join(clock.log) == "-a-b-aa-bb-aa-bb"
    assert times == {"a": pytest.approx([0.05] * 2), "b": pytest.approx([0.06] * 2)}
    assert failed == {}


def test_short_calls_run_a_turn_in_and_are_repeated_until_they_fill_it():
    """The first call after the rest takes as long as five."""
    clock = Clock(short=0.001, long=0.1)
    times, _ = clock.interleave(3)
    turns = "".join("s" if name == "short" else name[0] for name in clock.log).split("-")
    run_in, timed = round(timing.RUN_IN / 0.001) - 4, round(timing.TURN / 0.001)
    assert turns[-2:] == ["s" * (run_in + timed), "ll"]
    assert times["short"] == pytest.approx([0.001] * 3)


def test_a_turn_without_warm_up_is_one_call():
    clock = Clock(a=1e-6, b=1e-6)
    clock.interleave(2, warm_up=False)
    assert "".join(clock.log) == "-a-b-a-b"


@pytest.mark.parametrize(("asked", "whole"), [(0, 0), (1, 0), (5, 1), (6, 2), (7, 2)])
def test_stopping_keeps_whole_rounds(asked, whole):
    clock = Clock(a=0.03, b=0.03)
    times, _ = clock.interleave(9, lambda _: clock.log.count("-") < asked)
    assert {name: len(values) for name, values in times.items()} == {"a": whole, "b": whole}


def test_each_turn_of_a_round_can_be_taken_again():
    clock, taken = Clock(a=0.05, b=0.06), []

    def take(turn):
        taken.append(turn())
        return Turn(turn() if len(taken) == 2 else taken[-1])

    times, _ = clock.interleave(2, take=take)
    assert "".join(clock.log) == "-a-b-aa-bb-bb-aa-bb"
    assert times == {"a": pytest.approx([0.05] * 2), "b": pytest.approx([0.06] * 2)}


class Machine:
    """Work that takes 0.01 s, or from `since` to `until` and while threads spin a quarter more."""

    def __init__(self, since, until):
        self.now, self.since, self.until, self.spins = 0.0, since, until, False
        self.steady = Steady(self.work, self.rest, lambda: self.now, self.wait)

    def work(self):
        self.now += 0.0125 if self.since <= self.now < self.until or self.spins else 0.01

    def rest(self):
        self.spins = False

    def wait(self, seconds):
        self.now += seconds

    def turn(self):
        start, self.now, self.spins = self.now, self.now + 1, True
        return start

    def turns(self, count):
        """Returns turns of a second, with when each has begun in the place of how long it took."""
        return [self.steady.take(self.turn) for _ in range(count)]


def test_a_turn_that_ends_on_a_slow_machine_is_taken_again_when_it_is_at_its_best():
    turns = Machine(20, 25).turns(30)
    assert not [turn for turn in turns if 20 <= turn.seconds + 1 < 25 or turn.slow]
    assert 25 <= min(turn.seconds for turn in turns if turn.seconds > 20) < 25.3


def test_half_of_the_time_at_most_is_wasted_on_slow_turns():
    turns = Machine(20, math.inf).turns(100)
    assert turns[-1].seconds == pytest.approx(200, rel=0.1)
    assert all(turn.slow == (turn.seconds > 19) for turn in turns)


def test_time_between_turns_is_not_wasted_and_one_turn_does_not_take_all_patience():
    machine = Machine(110, math.inf)
    (first,) = machine.turns(1)
    machine.now += 108
    second, third = machine.turns(2)
    assert not first.slow
    assert second == (pytest.approx(109.03), True)
    assert third == (pytest.approx(109.03 + LONGEST, abs=1.2), True)


def test_who_fails_is_out_and_the_rest_go_on():
    times, failed = Clock(a=0.03, bad=None, b=0.03).interleave(2)
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert isinstance(failed["bad"], MemoryError)


@pytest.mark.parametrize(("spins", "waits"), [(0.0, 0.01), (0.15, 0.16), (9.0, 0.5)])
def test_settling_waits_for_threads_that_spin(monkeypatch, spins, waits):
    """By a clock of its own: beside other work no thread is sure of a third of a core."""
    now = [0.0]
    clock = SimpleNamespace(
        sleep=lambda seconds: now.append(now[-1] + seconds),
        perf_counter=lambda: now[-1],
        process_time=lambda: min(now[-1], spins),
    )
    monkeypatch.setattr(timing, "time", clock)
    timing.settle()
    assert now[-1] == pytest.approx(waits)
