"""The kernel on a mesh: each device runs its own rows, and the weights' gradients are summed.

xs [time, rows / devices, input], W -> hs [time, rows / devices, hidden], sum of all dW

Neither the data nor the results move between devices, except for this sum.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gru_jax.kernels.operands import STEPS, is_absent, row_axis


def on_rows(
    call: Callable[..., Sequence[jax.Array]],
    operands: dict[str, Any],
    results: dict[str, Any],
    time_axis: int,
) -> Callable[..., Sequence[jax.Array]]:
    """Returns a function that XLA may shard over its rows only.

    Args:
        call: the function.
        operands: the operands' shapes by name.
        results: the results' shapes by name.
        time_axis: the time axis of operands and results.
    """

    def place(mesh: Mesh, arrays: dict[str, Any], rows: Any) -> list[NamedSharding]:
        shardings = []
        for name, a in arrays.items():
            axes, axis = [None] * a.ndim, row_axis(name, time_axis)
            if axis is not None and not is_absent(a):
                axes[axis] = rows
            shardings.append(NamedSharding(mesh, PartitionSpec(*axes)))
        return shardings

    def split(mesh: Mesh, given: Sequence[Any]) -> Any:
        """Returns the mesh axes that shard the rows; None if they do not divide the rows."""
        xs, axis = given[0], 1 - time_axis
        rows = xs.sharding.spec[axis] if isinstance(xs.sharding, NamedSharding) else None
        names = rows if isinstance(rows, tuple) else (rows,) * (rows is not None)
        return rows if xs.shape[axis] % prod(mesh.shape[name] for name in names) == 0 else None

    def infer(mesh: Mesh, given: Sequence[Any], _: Any) -> list[NamedSharding]:
        return place(mesh, results, split(mesh, given))

    def partition(mesh: Mesh, given: Sequence[Any], _: Any) -> tuple[Any, ...]:
        rows = split(mesh, given)

        def lower(*arrays: jax.Array) -> list[jax.Array]:
            found = dict(zip(results, call(*arrays), strict=True))
            for name, a in found.items():
                if rows and row_axis(name, time_axis) is None and not is_absent(a):
                    found[name] = jax.lax.psum(a, rows)
            return list(found.values())

        return mesh, lower, place(mesh, results, rows), tuple(place(mesh, operands, rows))

    def factors(arrays: dict[str, Any]) -> str:
        return ", ".join(" ".join(_axes(name, a, time_axis)) for name, a in arrays.items())

    both = [*operands.items(), *results.items()]
    # In order of first appearance, as Shardy requires.
    names = dict.fromkeys(axis for name, a in both for axis in _axes(name, a, time_axis))
    function = custom_partitioning(call)
    function.def_partition(
        partition,
        infer,
        sharding_rule=f"{factors(operands)} -> {factors(results)}",
        need_replication_factors=tuple(name for name in names if name != "row"),
    )
    return function


def _axes(name: str, a: Any, time_axis: int) -> list[str]:
    """Returns names for the axes of an array."""
    features = "input" if name == "xs" else "hidden"
    if is_absent(a):
        return ["none"]
    if name in STEPS:
        steps = ["time", "row"] if time_axis == 0 else ["row", "time"]
        return [*steps, features][: a.ndim]
    if row_axis(name, time_axis) is not None:
        return ["row", "hidden"]
    return ["joint", "hidden"][-a.ndim :]
