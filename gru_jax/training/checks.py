"""The errors of training: the needed and the actual argument, raised before anything runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

RESERVED = ("loss", "grad_norm", "finite", "epoch", "step", "seconds", "waiting")
"""Names in the rows of a training step and of `fit` that its loss function must leave to them."""


def describe(value: Any) -> str:
    """Returns the description of a value in errors: dtype and shape of an array, or the type."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    if value is None:
        return "None"
    if jax.tree_util.all_leaves([value]):
        return type(value).__name__
    leaves = jax.tree.leaves(value)
    members = [describe(leaf) for leaf in leaves[:3]] + ["..."] * (len(leaves) > 3)
    return f"{type(value).__name__} of {', '.join(members) or 'nothing'}"


def name_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Returns a tree's leaves with their names, e.g. `("params.W_r", leaf)`."""
    return [(_name(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def describe_members(tree: Any) -> str:
    """Returns name, dtype and shape of a tree's first arrays."""
    named = [_describe_named(name, leaf) for name, leaf in name_leaves(tree)]
    return ", ".join(named[:4] + ["..."] * (len(named) > 4)) or "nothing"


def _describe_named(name: str, leaf: Any) -> str:
    return f"{name} {describe(leaf)}".strip()


def is_typed_key(value: Any) -> bool:
    """Returns whether a value is an array of typed keys, as from `jax.random.key`."""
    return jnp.issubdtype(getattr(value, "dtype", np.dtype("V")), jax.dtypes.prng_key)


def is_key(value: Any) -> bool:
    """Returns whether a value is one key, typed or from `jax.random.PRNGKey`."""
    if is_typed_key(value):
        return value.shape == ()
    return is_number(value, np.uint32) and np.ndim(value) == 1


def is_number(value: Any, kind: Any) -> bool:
    """Returns whether a value is an array or a number of a kind, e.g. `jnp.floating`."""
    dtype = getattr(value, "dtype", None)
    if dtype is None and isinstance(value, (bool, int, float, complex)):
        dtype = np.result_type(value)
    return dtype is not None and jnp.issubdtype(dtype, kind)


def is_scalar(value: Any) -> bool:
    """Returns whether a value is a single number or boolean."""
    number = is_number(value, np.number) or is_number(value, np.bool_)
    return number and np.shape(value) == ()


def check_optimizer(function: str, tx: Any) -> None:
    """Raises ValueError unless `tx` is an Optax optimiser."""
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise ValueError(
            f"{function}: tx must be an Optax optimiser, e.g. optax.adam(1e-3), got {describe(tx)}."
        )


def check_loss(function: str, result: Any) -> tuple[Array, Any]:
    """Returns the loss and its auxiliary value; raises ValueError unless the loss is a scalar."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ValueError(
            f"{function}: loss_fn must return two values, the loss and the metrics ({{}} for "
            f"none), got {describe(result)}."
        )
    loss, rest = result
    if not is_number(loss, jnp.floating) or jnp.shape(loss):
        raise ValueError(
            f"{function}: the loss of loss_fn must be a floating-point scalar, e.g. a mean, "
            f"got {describe(loss)}."
        )
    return jnp.asarray(loss), rest


def check_metrics(function: str, metrics: Any) -> dict[str, Array]:
    """Returns metrics as arrays; raises ValueError unless they are scalars with unused names."""
    if not isinstance(metrics, dict):
        raise ValueError(
            f"{function}: the metrics of loss_fn must be a dict of scalars, {{}} for none, "
            f"got {describe(metrics)}."
        )
    for name, value in metrics.items():
        if name in RESERVED:
            raise ValueError(
                f"{function}: the metrics of loss_fn must not be named {', '.join(RESERVED)}, "
                f"which training adds, got {name!r}."
            )
        if not is_scalar(value):
            raise ValueError(
                f"{function}: the metrics of loss_fn must be scalars, e.g. means, "
                f"got {name} {describe(value)}."
            )
    return {name: jnp.asarray(value) for name, value in metrics.items()}


def check_same(needed: str, expected: Any, actual: Any) -> None:
    """Raises ValueError, which begins with `needed`, unless structures, shapes and dtypes agree."""
    before, after = jax.tree.structure(expected), jax.tree.structure(actual)
    if before != after:
        raise ValueError(f"{needed}, {before}, got {after}.")
    for (name, leaf), other in zip(name_leaves(expected), jax.tree.leaves(actual), strict=True):
        if describe(leaf) != describe(other):
            raise ValueError(f"{needed}, {_describe_named(name, leaf)}, got {describe(other)}.")


def check_live(function: str, argument: str, tree: Any) -> None:
    """Raises ValueError if an array of the tree was donated."""
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted():
            path, _ = jax.tree.leaves_with_path(tree)[i]
            raise ValueError(
                f"{function}: {argument} must not be one that a training loop has taken, as it "
                f"donates it: use the one that it returned, got {_name(path)} deleted."
            )
