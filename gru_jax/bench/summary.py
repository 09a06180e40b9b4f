"""What the outcomes come to: who is fastest, and how ours stands against it. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gru_jax.bench.measure import Entry, Measure, Outcome
from gru_jax.bench.peers import OURS, PEERS, Peer
from gru_jax.bench.problem import Reset, Size
from gru_jax.bench.timing import geometric_mean, ratio, spread


class Standing(NamedTuple):
    """One form of ours against the fastest JAX peer at each size.

    Attributes:
        ratios: how many times as fast as that peer ours is, by size.
        fastest: that peer, by size.
        mean: the geometric mean of the ratios.
        worst: the size with the smallest ratio.
    """

    ratios: dict[Size, float]
    fastest: dict[Size, Entry]
    mean: float
    worst: Size


def standing(
    outcomes: Sequence[Outcome],
    name: Measure,
    reset: Reset,
    known: Mapping[str, Peer] = PEERS,
) -> Standing | None:
    """Returns how ours stands in a measure, None if there is nobody to compare it with."""
    values = {o.entry: o.values[name] for o in outcomes if name in o.values}
    ratios, fastest = {}, {}
    for size in dict.fromkeys(entry.size for entry in values):
        ours = Entry(size, OURS, reset)
        peers = [e for e in values if e.size == size and e.library != OURS]
        peers = [e for e in peers if known[e.library].in_jax]
        if peers and ours in values:
            fastest[size] = min(peers, key=lambda entry: spread(values[entry]).median)
            ratios[size] = ratio(values[fastest[size]], values[ours])
    if not ratios:
        return None
    mean = geometric_mean(list(ratios.values()))
    return Standing(ratios, fastest, mean, min(ratios, key=lambda size: ratios[size]))


def ratios_to_ours(outcomes: Sequence[Outcome], name: Measure) -> dict[Entry, dict[Reset, float]]:
    """Returns how many times as long as each form of ours everybody takes."""
    values = {o.entry: o.values[name] for o in outcomes if name in o.values}
    return {
        entry: {
            reset: ratio(times, values[ours])
            for reset in PEERS[OURS].resets
            if (ours := Entry(entry.size, OURS, reset)) in values
            and len(values[ours]) == len(times)
        }
        for entry, times in values.items()
    }
