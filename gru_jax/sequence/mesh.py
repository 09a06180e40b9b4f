"""A run on a mesh with Explicit axes: each device runs its own rows."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec, get_abstract_mesh, reshard
from jaxtyping import Array, PyTree

from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.sequence.options import Program
from gru_jax.types import Key, Params, State


def on_mesh(over_time: PyTree[bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for `(program, params, xs, h0, boundaries, key) -> results`.

    Each device runs the function on its own rows, and the results keep the sharding of the rows. If
    no mesh axis shards the rows, or random masks are drawn for each row, XLA runs the function as
    on Auto axes.

    Args:
        over_time: for each result, whether it has the inputs' time axis.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(
            program: Program,
            params: Params,
            xs: Array,
            h0: State,
            boundaries: Boundaries,
            key: Key | None,
        ) -> Any:
            args = params, xs, h0, boundaries, key
            mesh = _mesh_of(xs)
            if not mesh.explicit_axes:
                return function(program, *args)
            names = list(jax.typeof(xs).sharding.spec[: program.axes])
            names[program.time_axis] = None
            steps = PartitionSpec(*names)
            del names[program.time_axis]
            batch = PartitionSpec(*names)
            results = jax.tree.map(lambda has_time: steps if has_time else batch, over_time)
            options = program.options
            drawn = key is not None and (options.zoneout or options.recurrent_dropout)
            if drawn or not any(names):
                # If each device drew its own masks, they would not match the rows' masks on one
                # device. And rows that are not sharded here may be sharded if `vmap` maps over an
                # Explicit axis. The kernel is not chosen then: `whole_rows`.
                here = partial(function, program)
                placed = jax.tree.map(lambda spec: NamedSharding(mesh, spec), results)
                axes = mesh.explicit_axes
                spread: Any = jax.sharding.auto_axes(here, axes=axes, out_sharding=placed)
                return spread(*args)
            whole: Any = PartitionSpec()
            rows: Any = Boundaries(steps, steps, batch)  # pyright: ignore[reportArgumentType]
            specs = whole, steps, batch, rows, whole
            args = jax.tree.map(
                lambda spec, tree: jax.tree.map(
                    lambda a: reshard(a, NamedSharding(mesh, spec)), tree
                ),
                specs,
                args,
                is_leaf=lambda spec: isinstance(spec, PartitionSpec),
            )
            here = partial(function, program)
            return jax.shard_map(here, mesh=mesh, in_specs=specs, out_specs=results)(*args)

        return run

    return decorate


def whole_rows(xs: Array, axes: int, time_axis: int) -> bool:
    """Returns whether a mesh has Explicit axes, and none of them shards the rows of `xs`."""
    names = jax.typeof(xs).sharding.spec[:axes]
    rows = (name for axis, name in enumerate(names) if axis != time_axis)
    return bool(_mesh_of(xs).explicit_axes) and not any(rows)


def _mesh_of(xs: Array) -> Any:
    mesh = jax.typeof(xs).sharding.mesh
    return get_abstract_mesh() if mesh.empty else mesh
