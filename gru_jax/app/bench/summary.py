"""What the outcomes come to, and all of it as JSON. Nothing is measured here."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from gru_jax.app.bench import onednn, peak
from gru_jax.app.bench.measure import COUNTED, Entry, Measure, Outcome
from gru_jax.app.bench.peers import OURS, PEERS, XLA
from gru_jax.app.bench.problem import Reset, Size
from gru_jax.app.bench.timing import geometric_mean, ratio, spread

TITLES: dict[Measure, str] = {
    "forward": "Forward pass",
    "train": "Training step",
    "first-step": "First training step",
    "memory": "Peak temporaries of a training step",
    "latency": "One time step",
}
"""What the measures are called where people read them."""


JAX_PEERS = tuple(name for name, peer in PEERS.items() if peer.in_jax and name not in (OURS, XLA))
OUTSIDE = tuple(name for name, peer in PEERS.items() if not peer.in_jax)


class Standing(NamedTuple):
    """One form of ours against the fastest of some peers, size by size.

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


def label(library: str, reset: Reset) -> str:
    """Returns what a library in one form is called where people read it."""
    return f"{library} ({reset})"


def values_of(outcomes: Sequence[Outcome], name: Measure) -> dict[Entry, list[float]]:
    """Returns everybody's values of a measure."""
    return {o.entry: o.values[name] for o in outcomes if name in o.values}


def standing(
    outcomes: Sequence[Outcome], name: Measure, reset: Reset, against: Sequence[str] = JAX_PEERS
) -> Standing | None:
    """Returns how ours stands in a measure, None if there is nobody to compare it with."""
    values = values_of(outcomes, name)
    ratios, fastest = {}, {}
    for size in dict.fromkeys(entry.size for entry in values):
        ours = Entry(size, OURS, reset)
        peers = [e for e in values if e.size == size and e.library in against]
        if peers and ours in values:
            fastest[size] = min(peers, key=lambda entry: spread(values[entry]).median)
            ratios[size] = ratio(values[fastest[size]], values[ours])
    if not ratios:
        return None
    mean = geometric_mean(list(ratios.values()))
    return Standing(ratios, fastest, mean, min(ratios, key=lambda size: ratios[size]))


def rate(outcomes: Sequence[Outcome]) -> float | None:
    """Returns the most operations in a second that square products reached, None without any."""
    return peak.rate([seconds for outcome in outcomes for seconds in outcome.products])


def shares(outcomes: Sequence[Outcome], name: Measure) -> dict[Entry, float]:
    """Returns which part of that rate each contender's products reach, none if that is unknown."""
    most = rate(outcomes)
    if most is None or name not in COUNTED:
        return {}
    return {
        entry: peak.operations(entry.size, train=name == "train") / spread(values).median / most
        for entry, values in values_of(outcomes, name).items()
    }


def as_json(
    outcomes: Sequence[Outcome], sizes: Sequence[Size], measures: Sequence[Measure], rounds: int
) -> dict[str, Any]:
    """Returns all that was measured, what it comes to, and what it was measured with and on."""
    return {
        "versions": versions(),
        "machine": machine(),
        "sizes": [str(size) for size in sizes],
        "measures": list(measures),
        "rounds": rounds,
        "results": [_result(outcome, outcomes) for outcome in outcomes],
        "against_fastest_jax_peer": _against(outcomes, JAX_PEERS),
        "against": {name: _against(outcomes, [name]) for name in OUTSIDE},
        "peak": {
            "operations_per_second": rate(outcomes),
            "shares": {
                name: {
                    label(*who): {str(e.size): share for e, share in found.items() if e[1:] == who}
                    for who in dict.fromkeys(entry[1:] for entry in found)
                }
                for name in COUNTED
                if (found := shares(outcomes, name))
            },
        },
    }


def dumps(report: dict[str, Any]) -> str:
    """Returns the text of a JSON file."""
    return json.dumps(report, indent=1, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Returns the version of everything that takes part and is installed."""
    found = {"python": platform.python_version()}
    packages = [package for peer in PEERS.values() for package in peer.modules.values()]
    for package in dict.fromkeys(["gru_jax", "jax", "jaxlib", "numpy", *packages]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | ({"onednn": of_onednn} if (of_onednn := onednn.version()) else {})


def machine() -> dict[str, str | int]:
    """Returns what the measurement runs on."""
    device = jax.devices()[0]
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone
    return {
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpus": len(allowed(0)) if allowed else os.cpu_count() or 1,
        "backend": device.platform,
        "device": device.device_kind,
    }


def _against(outcomes: Sequence[Outcome], against: Sequence[str]) -> dict[str, Any]:
    return {
        name: {
            reset: {
                "geometric_mean": stands.mean,
                "worst": str(stands.worst),
                "ratios": {str(size): value for size, value in stands.ratios.items()},
                "fastest": {str(k): label(*e[1:]) for k, e in stands.fastest.items()},
            }
            for reset in PEERS[OURS].resets
            if (stands := standing(outcomes, name, reset, against))
        }
        for name in COUNTED
    }


def _result(outcome: Outcome, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    size, library, reset = outcome.entry
    summary = {}
    for name, values in outcome.values.items():
        of = values_of(outcomes, name)
        ours = {form: of.get(Entry(size, OURS, form)) for form in PEERS[OURS].resets}
        summary[name] = spread(values)._asdict() | {
            "times_ours": {form: ratio(values, base) for form, base in ours.items() if base}
        }
    return {
        "size": str(size),
        "library": library,
        "reset": reset,
        "reason": outcome.reason,
        # JSON has no NaN.
        "differences": {k: d if math.isfinite(d) else None for k, d in outcome.differences.items()},
        "values": outcome.values,
        "slow_turns": outcome.slow,
        "summary": summary,
    }
