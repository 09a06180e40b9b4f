"""The kernel on a mesh: each device runs its own rows, and the weights' gradients are summed.

xs [time, rows / devices, input], W -> hs [time, rows / devices, hidden], sum of all dW

Neither the data nor the results move between devices, except for this sum. The members of an
ensemble may be sharded, too; they have no sums in common.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gru_jax.kernels.operands import STEPS, has_members, is_absent, row_axis

SHARDED = "member", "row"
"""Names of the axes that may be sharded."""


def on_rows(
    call: Callable[..., Sequence[jax.Array]],
    operands: dict[str, Any],
    results: dict[str, Any],
    time_axis: int,
) -> Callable[..., Sequence[jax.Array]]:
    """Returns a function that XLA may shard over its rows and members only.

    Args:
        call: the function.
        operands: the operands' shapes by name.
        results: the results' shapes by name.
        time_axis: a member's time axis in operands and results.
    """
    members = has_members(list(operands.values()))

    def axes_of(arrays: dict[str, Any]) -> dict[str, list[str]]:
        return {name: _axes(name, a, members, time_axis) for name, a in arrays.items()}

    axes = axes_of(operands), axes_of(results)

    def place(mesh: Mesh, arrays: dict[str, list[str]], split: dict[str, Any]) -> Any:
        specs = (PartitionSpec(*map(split.get, names)) for names in arrays.values())
        return [NamedSharding(mesh, spec) for spec in specs]

    def read(mesh: Mesh, given: Sequence[Any]) -> dict[str, Any]:
        """Returns the mesh axes that shard rows and members; not those that do not divide them."""
        xs, split = given[0], {}
        spec = xs.sharding.spec if isinstance(xs.sharding, NamedSharding) else ()
        for name, size, sharding in zip(axes[0]["xs"], xs.shape, spec, strict=False):
            parts = sharding if isinstance(sharding, tuple) else (sharding,) * bool(sharding)
            if name in SHARDED and size % prod(mesh.shape[part] for part in parts) == 0:
                split[name] = sharding
        return split

    def infer(mesh: Mesh, given: Sequence[Any], _: Any) -> list[NamedSharding]:
        return place(mesh, axes[1], read(mesh, given))

    def partition(mesh: Mesh, given: Sequence[Any], _: Any) -> tuple[Any, ...]:
        split = read(mesh, given)

        def lower(*arrays: jax.Array) -> list[jax.Array]:
            found = dict(zip(results, call(*arrays), strict=True))
            for name, a in found.items():
                if split.get("row") and "row" not in axes[1][name] and not is_absent(a):
                    found[name] = jax.lax.psum(a, split["row"])
            return list(found.values())

        return mesh, lower, place(mesh, axes[1], split), tuple(place(mesh, axes[0], split))

    # In order of first appearance, as Shardy requires.
    names = dict.fromkeys(axis for side in axes for array in side.values() for axis in array)
    sides = (", ".join(map(" ".join, side.values())) for side in axes)
    function = custom_partitioning(call)
    function.def_partition(
        partition,
        infer,
        sharding_rule=" -> ".join(sides),
        need_replication_factors=tuple(name for name in names if name not in SHARDED),
    )
    return function


def _axes(name: str, a: Any, members: bool, time_axis: int) -> list[str]:
    """Returns names for the axes of an array."""
    if is_absent(a):
        return ["none"]
    member, features = ["member"] * members, "input" if name == "xs" else "hidden"
    if name in STEPS:
        steps = ["time", "row"] if time_axis == 0 else ["row", "time"]
        return [*member, *steps, features][: a.ndim]
    if row_axis(name, time_axis) is not None:
        return [*member, "row", "hidden"]
    return [*member, *["joint", "hidden"][members - a.ndim :]]
