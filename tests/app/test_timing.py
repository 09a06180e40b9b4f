"""The benchmark's clock: interleaved rounds, rest, run-in; medians, quartiles and ratios."""

from types import SimpleNamespace

import numpy as np
import pytest

from gru_jax.app.bench import timing
from gru_jax.app.bench.measure import Stopped


def test_a_spread_is_the_median_and_the_quartiles(rng):
    assert timing.spread([5, 1, 4, 2, 3]) == (3, 2, 4)
    assert timing.spread([1, 2, 3, 10]) == (2.5, 1.75, 4.75)
    values = rng.exponential(size=11)
    assert timing.spread(values) == tuple(np.percentile(values, [50, 25, 75]))


class Clock:
    """Time that passes only in calls, more of it in the first after a rest; a record of them."""

    def __init__(self, **seconds):
        self.now, self.log = 0.0, []
        self.calls = {name: self.make(name, took) for name, took in seconds.items()}

    def make(self, name, took):
        def call():
            self.log.append(name)
            if took is None:
                raise MemoryError("too much")
            self.now += took + 0.004 * (self.log[-2] == "-")

        return call

    def interleave(self, rounds, tell=lambda _: None, **options):
        """Returns an iterator over the rounds."""
        rest, clock = lambda: self.log.append("-"), lambda: self.now
        return timing.interleave(self.calls, rounds, tell, rest=rest, clock=clock, **options)


def test_each_round_has_one_turn_of_every_contender_in_shuffled_order():
    clock = Clock(**dict.fromkeys("abcd", 0.05))
    rounds = list(clock.interleave(20))
    turns = "".join(clock.log).split("-")[1:]
    assert all(turn == 2 * turn[0] for turn in turns[4:])  # run in once, timed once
    orders = ["".join(turn[0] for turn in turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert len(orders) == 1 + 20
    assert {"".join(sorted(order)) for order in orders} == {"abcd"}
    assert len(set(orders)) > 10
    followers = {order[order.index("a") :][1:2] for order in orders}
    assert followers == {"b", "c", "d", ""}  # nobody always follows the same contender
    assert rounds == [dict.fromkeys("abcd", pytest.approx(0.05))] * 20


def test_warm_up_and_run_in_are_not_counted():
    """The first call after a rest takes as long as five."""
    clock = Clock(short=0.001, long=0.1)
    times = [each["short"] for each in clock.interleave(3)]
    turns = "".join("s" if name == "short" else name[0] for name in clock.log).split("-")
    run_in, timed = round(timing.RUN_IN / 0.001) - 4, round(timing.TURN / 0.001)
    long, short = sorted(turns[-2:])
    assert long == "ll"
    assert abs(len(short) - run_in - timed) <= 1  # 0.04 is no multiple of 0.001 in binary
    assert times == pytest.approx([0.001] * 3)


@pytest.mark.parametrize(("turns", "whole"), [(0, 0), (1, 0), (3, 0), (4, 1), (5, 1), (6, 2)])
def test_stopping_keeps_whole_rounds(turns, whole):
    clock, rounds = Clock(a=0.03, b=0.03), []

    def tell(_):
        if clock.log.count("-") == turns:
            raise Stopped

    with pytest.raises(Stopped):
        rounds.extend(clock.interleave(9, tell))
    assert [set(each) for each in rounds] == [{"a", "b"}] * whole


def test_who_has_spent_the_budget_has_no_more_turns_but_one_value():
    clock = Clock(quick=0.03, slow=10.0, slower=70.0)
    first, *rounds = clock.interleave(9, budget=60)
    assert first == {"slower": pytest.approx(70.004)}  # the warm-up
    assert [set(each) for each in rounds] == [{"quick", "slow"}] * 3 + [{"quick"}] * 6
    assert clock.log.count("slower") == 1
    assert clock.log.count("slow") == 1 + 3 * 2  # each turn has a run-in


def test_a_warm_up_of_many_calls_gives_the_seconds_of_one():
    ((seconds,),) = (each.values() for each in Clock(short=0.001).interleave(9, budget=0.01))
    assert seconds == pytest.approx(0.001)


def test_who_fails_is_out_and_the_rest_go_on():
    first, second, third = Clock(a=0.03, bad=None, b=0.03).interleave(2)
    assert isinstance(first["bad"], MemoryError)
    assert set(second) == set(third) == {"a", "b"}


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
