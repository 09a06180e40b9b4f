"""Whether a contender computes what gru_jax does: states and gradients.

`weights` moves and negates numbers, so it carries gradients across as it carries parameters:

    g_theirs = weights(g_ours)        on all entries that weights(ones) reaches
"""

from collections.abc import Mapping

import jax
import numpy as np

import gru_jax as gj
from gru_jax.app.bench import device
from gru_jax.app.bench.calls import Calls

TOLERANCE = 1e-4
"""The largest difference that counts as agreement: absolute for states, relative to the largest
entry of each array for gradients. Float32 sums in another order differ by about 1e-5 over a
hundred thousand terms; a wrong gate, sign or bias differs by 1e-2 or more. A bias of images sums as
many: 8 x 20 x 32 x 32 terms of Flax's and gru_jax's gradients differ by 2e-6."""

TF32_TOLERANCE = 5e-3
"""The same where float32 products round their factors to TF32's 10 bits. Emulated on a CPU at five
of the sizes for GPUs, up to 1024 steps and 512 units, this moves states and gradients by up to
7e-4. The contender and gru_jax may each be off by as much."""

TINY = 1e-3
"""Smallest scale of a gradient array."""


def compare(
    theirs: Calls, ours: Calls, params: gj.Params, *, gradients: bool = True
) -> dict[str, float]:
    """Runs each call once; returns the largest differences of "states" and "gradients".

    Args:
        theirs: a contender.
        ours: gru_jax, of the same form.
        params: parameters of that form.
        gradients: whether to compare gradients, too, where both compute them.
    """
    result = {"states": np.abs(theirs.hs(theirs.forward()) - ours.hs(ours.forward())).max()}
    if gradients and theirs.train and theirs.gradients and ours.train and ours.gradients:
        leaves, xs_grad = ours.gradients(ours.train())
        grads = jax.tree.structure(params).unflatten(map(np.asarray, leaves))
        reached = theirs.weights(jax.tree.map(np.ones_like, grads))
        actual, actual_xs = theirs.gradients(theirs.train())
        pairs = [(actual_xs, xs_grad)]
        for a, expected, ones in zip(actual, theirs.weights(grads), reached, strict=True):
            pairs.append((np.where(np.asarray(ones) == 0, 0, a), np.asarray(expected)))
        errors = [np.abs(a - b).max() / np.maximum(np.abs(b).max(), TINY) for a, b in pairs]
        result["gradients"] = np.max(errors)  # Python's max may lose a NaN
    return {name: float(value) for name, value in result.items()}


def disagreement(differences: Mapping[str, float]) -> str | None:
    """Returns what disagrees, None if nothing does; NaN disagrees."""
    tolerance = TOLERANCE if device.precision() == "highest" else TF32_TOLERANCE
    wrong = [f"{name} by {d:.1g}" for name, d in differences.items() if not d <= tolerance]
    return f"disagrees with gru_jax: {', '.join(wrong)}" if wrong else None
