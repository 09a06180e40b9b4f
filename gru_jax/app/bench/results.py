"""Ratios to gru_jax, and the one JSON schema.

    {"versions": {...}, "machine": {...}, "precision": "highest", "rounds": 11,
     "results": [{"size": "16,100,32,32", "name": "linen", "reset": "after", "reason": null,
                  "differences": {"states": 1e-7, ...}, "values": {"train": [...], ...}}, ...]}

Values are seconds, one a round, to five significant digits: no clock repeats more. Medians,
quartiles and ratios follow from them. A contender that is a different function has the reset null.
"""

import importlib.metadata
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gru_jax.app.bench import device
from gru_jax.app.bench.contenders import CONTENDERS, OURS
from gru_jax.app.bench.measure import Result
from gru_jax.app.bench.names import Measure
from gru_jax.app.bench.problem import AnySize, parse_size
from gru_jax.app.bench.timing import spread


def relative(results: Sequence[Result], measure: Measure) -> dict[str, dict[AnySize, list[float]]]:
    """Returns each contender's times over gru_jax's of the same form, round by round.

    A single time is compared with gru_jax's median. The keys are labels and sizes. A different
    function is compared with the form "before".
    """
    rows = [row for row in results if measure in row.values]
    ours = {(row.size, row.reset): row.values[measure] for row in rows if row.name == OURS}
    table: dict[str, dict[AnySize, list[float]]] = {}
    for row in rows:
        base = ours.get((row.size, row.reset or "before"))
        if base and row.name != OURS:
            values = row.values[measure]
            if len(values) == 1:  # It spent the budget before the first round.
                base = [spread(base).median]
            table.setdefault(row.label, {})[row.size] = [
                # The slower has fewer rounds where it has spent the budget.
                a / b
                for a, b in zip(values, base, strict=False)
            ]
    return table


def average(by_size: Mapping[AnySize, Sequence[float]]) -> list[float]:
    """Returns the geometric means over the sizes, round by round.

    If the sizes have different numbers of rounds, it is one mean, of their medians.
    """
    values = list(by_size.values())
    if len(set(map(len, values))) > 1:
        values = [[spread(each).median] for each in values]
    return np.exp(np.log(values).mean(0)).tolist() if values else []


def dumps(results: Sequence[Result], rounds: int) -> str:
    """Returns the text of a JSON file; null is not finite."""

    def row(result: Result) -> dict[str, Any]:
        finite = {
            name: _round(value, 3) if math.isfinite(value) else None
            for name, value in result.differences.items()
        }
        values = {name: [_round(v, 5) for v in each] for name, each in result.values.items()}
        return result._asdict() | {
            "size": str(result.size),
            "differences": finite,
            "values": values,
        }

    head = {"versions": versions(), "machine": machine(), "precision": device.precision()}
    head |= {"rounds": rounds}
    return lay_out(head | {"results": [row(result) for result in results]})


def lay_out(content: dict[str, Any]) -> str:
    """Returns the text of a JSON file, a line for each result."""
    head = {name: value for name, value in content.items() if name != "results"}
    lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in content["results"])
    return f'{json.dumps(head, indent=1)[:-2]},\n "results": [\n{lines}\n ]\n}}\n'


def _round(value: float, digits: int) -> float:
    """Returns the value with this number of significant digits."""
    return float(f"{value:.{digits}g}")


def loads(text: str) -> list[Result]:
    """Returns the results in the text of a JSON file."""

    def result(row: dict[str, Any]) -> Result:
        differences = {k: math.nan if v is None else v for k, v in row["differences"].items()}
        return Result(**row | {"size": parse_size(row["size"]), "differences": differences})

    return [result(row) for row in json.loads(text)["results"]]


def versions() -> dict[str, str]:
    """Returns the version of each library that is installed."""
    result = {"python": platform.python_version()}
    packages = [package for each in CONTENDERS.values() for package in each.packages.values()]
    for package in dict.fromkeys(["gru_jax", "jax", "jaxlib", "numpy", *packages]):
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


def machine() -> dict[str, Any]:
    """Returns the platform, the processor, the CPUs of this process, and JAX's device."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": len(affinity(0)) if affinity else os.cpu_count() or 1,
    } | device.facts()


def _processor() -> str:
    """Returns the processor's name; Python knows it outside Linux only."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return name[1] if name else platform.processor()
