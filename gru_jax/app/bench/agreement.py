"""Whether a library computes what ours does: states, one step, and gradients."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from gru_jax.app.bench.contender import Contender
from gru_jax.app.bench.problem import Problem
from gru_jax.cells.gru import GRUParams

TOLERANCE = 1e-4
"""The largest difference that counts as agreement, of states and, relative to the largest entry of
each array, of gradients. Sums in float32 in another order differ by some 1e-7 times the root of
their length, 1e-5 for the hundred thousand terms of a weight's gradient; a gate, a sign or a bias
that is wrong shows at 1e-2 or more."""

COARSE_TOLERANCE = 2e-2
"""The same where JAX rounds the factors of float32 products by default: to ten bits on recent
GPUs, to eight on TPUs."""

TINY = 1e-3
"""Gradients are relative to this at least."""


class Results(NamedTuple):
    """What a contender computes, batch-major."""

    hs: Float[np.ndarray, "batch time hidden"]
    step: Float[np.ndarray, "batch hidden"]
    gradients: tuple[GRUParams, np.ndarray] | None


def compute(contender: Contender, problem: Problem) -> Results:
    """Runs each of a contender's functions once, which compiles what there is to compile."""
    hs = contender.hs(contender.forward())
    step = np.asarray(contender.step()).reshape(problem.h.shape)
    if contender.train is None or contender.gradients is None:
        return Results(hs, step, None)
    return Results(hs, step, contender.gradients(contender.train()))


def differences(theirs: Results, ours: Results) -> dict[str, float]:
    """Returns the largest difference in "states", in a "step" and, relative, in "gradients"."""
    found = {
        "states": float(np.abs(theirs.hs - ours.hs).max()),
        "step": float(np.abs(theirs.step - ours.step).max()),
    }
    if theirs.gradients and ours.gradients:
        leaves = zip(
            (*theirs.gradients[0], theirs.gradients[1]),
            (*ours.gradients[0], ours.gradients[1]),
            strict=True,
        )
        # A leaf that a library lacks, such as nnx' b_h, is not compared. One that is all zeros, as
        # of W_r after a single step from zero, has no size to compare with. A NaN passes through.
        found["gradients"] = float(
            np.max(
                [
                    np.abs(np.subtract(a, b)).max() / np.maximum(np.abs(b).max(), TINY)
                    for a, b in leaves
                    if a is not None and b is not None
                ]
            )
        )
    return found


def disagreement(found: Mapping[str, float]) -> str | None:
    """Returns in what a contender disagrees, None if it agrees; NaN disagrees."""
    tolerance = TOLERANCE if jax.default_backend() == "cpu" else COARSE_TOLERANCE
    wrong = [f"{name} by {value:.1g}" for name, value in found.items() if not value <= tolerance]
    return f"disagrees with ours: {', '.join(wrong)}" if wrong else None
