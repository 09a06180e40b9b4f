"""Many training steps in one compiled program.

    state, [steps, batch, ...] --scan(step)--> state, metrics [steps]

After a step that is not finite, no more steps are taken. An ensemble is the same under `vmap`, with
an axis of members in front of everything.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.training.checks import check_live, check_same, describe, describe_members, is_typed_key
from gru_jax.training.step import Metrics

Step = TypeVar("Step", bound=Callable[[Any, Any], tuple[Any, Metrics]])


class TrainLoop:  # No tuple: `jax.jit` takes it.
    """A compiled loop, called like its step, but with batches in place of a batch."""

    def __init__(self, compiled: jax.stages.Wrapped, ensemble: bool) -> None:
        """Keeps the compiled function."""
        self.compiled, self.ensemble = compiled, ensemble

    def __call__(self, state: Any, batches: Any) -> tuple[Any, Metrics]:
        """Returns the state after all steps, and the metrics of each."""
        check_live("train_loop", "state", state)
        if self.ensemble:
            _check_members(state, batches)
        return self.compiled(state, batches)

    def lower(self, state: Any, batches: Any) -> jax.stages.Lowered:
        """Returns the program, to be compiled ahead of time or inspected; also takes shapes."""
        return self.compiled.lower(state, batches)


def make_train_loop(train_step: Step, *, ensemble: bool = False) -> Step:
    """Builds `loop(state, batches) -> (state, metrics)`: a compiled scan over the leading axis.

    The state's buffers are donated: use the state that the loop returns. After a step that is not
    finite, no more steps are taken, and `finite` is False from there on.

    Args:
        train_step: `(state, batch) -> (state, metrics)`, from `make_train_step`,
            `make_truncated_step` or your own. The state keeps its structure, shapes and dtypes.
            Metrics are a dict of arrays; one of them, `finite`, is a boolean scalar: False if the
            step left the state unchanged.
        ensemble: train several members at once, each with a state and batches of its own. All
            arrays of state, batches and metrics then have an axis of members in front:
            `state = jax.vmap(init)(keys)`, batches `[members, steps, batch, ...]`. A member that
            is not finite takes no more steps; the others go on.

    Returns:
        The loop. Its `batches` are one or more batches, stacked: a tree of arrays
        `[steps, batch, ...]`. Keys may be `[steps]`; so may all arrays together, e.g. step numbers.
        A single batch in place of a stack is refused if one of its arrays, like labels, has one
        axis and others have more.

    Raises:
        ValueError: from the loop, if the state was donated before, if the batches have no axis of
            steps (as a single batch) or another number of members than the state, or if the step
            breaks its contract.
    """

    def body(carry: tuple[Any, Array], batch: Any) -> tuple[Any, Metrics]:
        state, finite = carry
        result = jax.eval_shape(train_step, state, batch)
        _check_step(state, result)
        skipped = jax.tree.map(jnp.zeros_like, result[1])
        state, metrics = jax.lax.cond(
            finite, train_step, lambda state, _: (state, skipped), state, batch
        )
        return (state, metrics["finite"]), metrics

    def train_loop(state: Any, batches: Any) -> tuple[Any, Metrics]:
        _check_batches(batches)
        (state, _), metrics = jax.lax.scan(body, (state, jnp.asarray(True)), batches)
        return state, metrics

    run = jax.vmap(train_loop) if ensemble else train_loop
    return cast(Step, TrainLoop(jax.jit(run, donate_argnums=0), ensemble))


def _check_members(state: Any, batches: Any) -> None:
    """Raises ValueError unless all arrays have the same number of members in front."""
    sizes = [{np.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)} for tree in (state, batches)]
    if len(sizes[0] | sizes[1]) != 1 or () in sizes[0]:
        of_state, of_batches = (" and ".join(map(str, sorted(each))) for each in sizes)
        raise ValueError(
            "train_loop: state and batches of an ensemble must have one axis of members in front "
            f"of all arrays, got {of_state} in the state and {of_batches} in the batches."
        )


def _check_batches(batches: Any) -> None:
    """Raises ValueError unless the arrays share an axis of steps, before their batch axis.

    In one batch, not stacked, labels or lengths have one axis and the inputs have more.
    """
    leaves = jax.tree.leaves(batches)
    steps = {np.shape(leaf)[:1] for leaf in leaves}
    ranks = {np.ndim(leaf) for leaf in leaves if not is_typed_key(leaf)}
    if len(steps) != 1 or steps <= {(), (0,)}:
        raise ValueError(
            "train_loop: batches must be arrays [steps, batch, ...] with one number of steps, "
            f"got {describe_members(batches)}."
        )
    if 1 in ranks and len(ranks) > 1:
        raise ValueError(
            "train_loop: batches must be stacked, [steps, batch, ...], also where it is one: "
            f"jax.tree.map(lambda a: a[None], batch), got {describe_members(batches)}."
        )


def _check_step(state: Any, result: Any) -> None:
    """Raises ValueError unless a step keeps the state's form, and its metrics have `finite`."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        raise ValueError(
            "make_train_loop: train_step must return (state, metrics), metrics a dict, "
            f"got {describe(result)}."
        )
    new, metrics = result
    finite = metrics.get("finite")
    if finite is None or finite.shape != () or finite.dtype != bool:
        raise ValueError(
            "make_train_loop: train_step must return a metric finite, a boolean scalar that is "
            f"False where the state is unchanged, got {describe_members(metrics)}."
        )
    check_same("make_train_loop: train_step must return the state as it came", state, new)
