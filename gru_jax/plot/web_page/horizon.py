"""A forecast on a page: what the outputs of a sequence's last steps mean."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gru_jax.types import ArrayLike


class Horizon(NamedTuple):
    """The last steps of a sequence, for which the outputs are a forecast.

    An output in units of y is `center + scale * output`, or `center + scale * (output + input)`
    with the input `base` of the same step. The page sorts the outputs of a step, as quantiles may
    cross. It draws the middle one as a line, and a band for each pair around it.

    Attributes:
        past: y before the horizon, in its units; NaN is missing.
        names: names of the outputs, an odd number, lowest first, e.g. ("10 %", "50 %", "90 %").
        center: value of y for an output of 0.
        scale: units of y per unit of output.
        base: index of the input that is added to the outputs, or None.
        truth: y of the horizon, if it is known; NaN is missing.
        times: names of all steps, e.g. dates.
        label: name of the series, with its unit.
    """

    past: Float[ArrayLike, " before"]
    names: Sequence[str]
    center: float = 0.0
    scale: float = 1.0
    base: int | None = None
    truth: Float[ArrayLike, " horizon"] | None = None
    times: Sequence[str] = ()
    label: str = "y"


def describe_horizon(horizon: Horizon, steps: int, inputs: int, outputs: int) -> dict[str, Any]:
    """Returns a horizon in the form that `forecast.js` reads.

    Raises:
        ValueError: if it does not fit the numbers of steps, inputs and outputs, or the net pools,
            so that it has no output per step.
    """
    past, begin = np.asarray(horizon.past, float), len(horizon.past)
    between = f"be [time] with 1 to {steps - 1} steps, without inf"
    truth = np.full(0, np.nan) if horizon.truth is None else np.asarray(horizon.truth, float)
    center, scale, base = float(horizon.center), float(horizon.scale), horizon.base
    needs = {
        "net": (outputs > 0, "have outputs at each step", "a net that pools"),
        "past": (_fits(past) and 0 < begin < steps, between, past.shape),
        "outputs": (outputs % 2 == 1, "be an odd number", outputs),
        "names": (len(horizon.names) == outputs, f"be {outputs}", len(horizon.names)),
        "center": (np.isfinite(center), "be finite", center),
        "scale": (np.isfinite(scale) and scale > 0, "be finite and above 0", scale),
        "base": (base is None or 0 <= base < inputs, f"be None or 0 to {inputs - 1}", base),
        "truth": (
            _fits(truth) and len(truth) in (0, steps - begin),
            f"be [{steps - begin}] without inf",
            truth.shape,
        ),
        "times": (len(horizon.times) in (0, steps), f"be {steps}", len(horizon.times)),
    }
    for name, (fits, needed, got) in needs.items():
        if not fits:
            raise ValueError(f"page: {name} of horizon must {needed}, got {got}.")
    return {
        "past": _as_json(past),
        "names": list(horizon.names),
        "center": center,
        "scale": scale,
        "base": base,
        "truth": _as_json(truth),
        "times": list(horizon.times),
        "label": horizon.label,
    }


def _fits(values: np.ndarray) -> bool:
    return values.ndim == 1 and not np.isinf(values).any()


def _as_json(values: np.ndarray) -> list[float | None]:
    """Returns the values with the digits of float32; null is missing."""
    return [float(f"{value:.9g}") if np.isfinite(value) else None for value in values.tolist()]
