"""How the kernel's primitives are differentiated and batched.

    forward_p    its tangent is tangent_p, for which the gates are kept
    tangent_p    its transpose is backward_p
    both         differentiated once more, they are their twins, which JAX can differentiate

`vmap` over data becomes more rows of one call; over weights, it becomes the members of one call.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import ad, batching
from jax.interpreters import partial_eval as pe
from jaxtyping import Array

from gru_jax.cells.gru_params import GRUParams
from gru_jax.kernels import twin
from gru_jax.kernels.operands import (
    DERIVED,
    Gradients,
    Inputs,
    Outputs,
    Saved,
    Tangents,
    absent,
    is_absent,
    row_axis,
)
from gru_jax.kernels.primitives import backward_p, forward_p, tangent_p
from gru_jax.kernels.report import fall_back
from gru_jax.recurrence.loop import STATES


def register() -> None:
    """Registers the rules with JAX."""
    ad.primitive_jvps[forward_p] = _forward_jvp
    ad.primitive_jvps[tangent_p] = _tangent_jvp
    ad.primitive_jvps[backward_p] = partial(_jvp_of, twin.backward)
    ad.primitive_transposes[tangent_p] = _tangent_transpose
    ad.primitive_transposes[backward_p] = _backward_transpose
    batching.primitive_batchers[forward_p] = _forward_batch
    batching.primitive_batchers[tangent_p] = partial(_twin_batch, twin.tangent)
    batching.primitive_batchers[backward_p] = _backward_batch
    pe.dce_rules[forward_p] = _forward_dce


def _forward_jvp(primals: Sequence[Array], tangents: Sequence[Any], **static: Any) -> Any:
    keep, required = static.pop("keep"), static.pop("required")
    if keep:  # A second derivative: always XLA's.
        fall_back("second derivatives")
        return _jvp_of(twin.forward, primals, tangents, keep=True, **static)
    outputs = Outputs(*forward_p.bind(*primals, keep=True, required=required, **static))
    hs = checkpoint_name(outputs.hs, STATES)
    values = Inputs(*primals)._asdict() | outputs._asdict() | {"hs": hs}
    saved = Saved(*(values[name] for name in Saved._fields))
    given = Inputs(*tangents)._asdict()
    given = [given[name] for name in Tangents._fields]
    given = [absent(hs.dtype) if type(t) is ad.Zero else t for t in given]
    return [hs], [tangent_p.bind(*saved, *given, **static)]


def _tangent_jvp(primals: Sequence[Array], tangents: Sequence[Any], **static: Any) -> Any:
    count = len(Saved._fields)
    saved, dsaved, given = primals[:count], tangents[:count], tangents[count:]
    if any(type(t) is not ad.Zero for t in dsaved):
        return _jvp_of(twin.tangent, primals, tangents, **static)
    given = [absent(saved[0].dtype) if type(t) is ad.Zero else t for t in given]
    return tangent_p.bind(*primals, **static), tangent_p.bind(*saved, *given, **static)


def _jvp_of(
    function: Callable[..., Any], primals: Sequence[Array], tangents: Sequence[Any], **static: Any
) -> Any:
    """Evaluates the JVP over the operands with nonzero tangents."""
    moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]

    def of(*moved: Array) -> Any:
        operands = list(primals)
        for i, a in zip(moving, moved, strict=True):
            operands[i] = a
        return function(*operands, **static)

    return jax.jvp(of, [primals[i] for i in moving], [tangents[i] for i in moving])


def _tangent_transpose(ct: Any, *operands: Any, **static: Any) -> list[Any]:
    count = len(Saved._fields)
    wanted = Tangents(*(ad.is_undefined_primal(a) for a in operands[count:]))
    weights = any(getattr(wanted, name) for name in GRUParams._fields)
    ways = {"products": weights, "inputs": wanted.xs}
    gradients = Gradients(
        *backward_p.bind(*operands[:count], ad.instantiate_zeros(ct), **ways, **static)
    )
    found = [getattr(gradients, n) if w else None for n, w in wanted._asdict().items()]
    return [None] * count + found


def _backward_transpose(
    cts: Sequence[Any], *operands: Any, products: bool, inputs: bool, **static: Any
) -> list[Any]:
    del products, inputs  # Omitted gradients have no cotangents.
    *saved, dhs = operands
    cts = Gradients(*cts)
    given = [getattr(cts, name) for name in Tangents._fields]
    given = [absent(dhs.aval.dtype) if type(t) is ad.Zero else t for t in given]
    nudges = cts[: Gradients._fields.index("h0")]
    if all(type(t) is ad.Zero for t in nudges):
        found = tangent_p.bind(*saved, *given, **static)
    else:
        found = twin.tangent(*saved, *given, *map(ad.instantiate_zeros, nudges), **static)
    return [None] * len(saved) + [found]


def _forward_dce(used: list[bool], *more: Any) -> tuple[list[bool], Any]:
    """Drops the gates if nothing reads them."""
    eqn = more[-1]  # Newer versions of JAX pass the live operands before it.
    if not any(used):
        return [False] * len(eqn.invars), None
    if len(used) > 1 and not any(used[1:]):
        params = eqn.params | {"keep": False}
        eqn = eqn.replace(outvars=eqn.outvars[:1], params=params)
    return [True] * len(eqn.invars), eqn


def _forward_batch(args: Sequence[Array], dims: Sequence[Any], **static: Any) -> Any:
    fold = _make_fold(Inputs._fields, args, dims, static["time_axis"])
    outputs = forward_p.bind(*_fold(fold, Inputs._fields, args, dims), **static)
    return _unfold(fold, Outputs._fields, outputs)


def _backward_batch(args: Sequence[Array], dims: Sequence[Any], **static: Any) -> Any:
    fold = _make_fold(DERIVED, args, dims, static["time_axis"])
    # One call would sum the gradients of weights over all examples that share them.
    one_by_one = static["products"] and not fold.over_weights
    ways = static | {"products": False} if one_by_one else static
    gradients = backward_p.bind(*_fold(fold, DERIVED, args, dims), **ways)
    found, axes = _unfold(fold, Gradients._fields, gradients)
    if not one_by_one:
        return found, axes
    given, count = Gradients._fields.index("h0"), len(Saved._fields)
    ways = {name: static[name] for name in ("kernel", "reverse", "time_axis")}
    args, dims = (*args[:count], *found[:given]), (*dims[:count], *axes[:given])
    weights, _ = _twin_batch(twin.multiply, args, dims, **ways)
    return [*found[: -len(weights)], *weights], [*axes[: -len(weights)], *[0] * len(weights)]


def _twin_batch(
    function: Callable[..., Any], args: Sequence[Array], dims: Sequence[Any], **static: Any
) -> Any:
    batched = jax.vmap(partial(function, **static), tuple(dims), axis_size=_size(args, dims))
    found = batched(*args)
    return found, jax.tree.map(lambda _: 0, found)


def _size(args: Sequence[Array], dims: Sequence[Any]) -> int:
    return next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)


class Fold(NamedTuple):
    """Where the axis of `vmap` goes: into the rows or, if weights are mapped, into the members."""

    size: int
    """The size of `vmap`'s axis."""
    over_weights: bool
    members: bool
    """Whether there are members already."""
    inner: int | None
    """The rows, or the members that are there already; None if there are none."""
    time_axis: int

    def axis(self, name: str) -> int | None:
        """Returns the axis of an array that takes it; None for weights that are not mapped."""
        if self.over_weights:
            return 0
        axis = row_axis(name, self.time_axis)
        return None if axis is None else axis + self.members


def _make_fold(
    names: Sequence[str], args: Sequence[Array], dims: Sequence[Any], time_axis: int
) -> Fold:
    named = dict(zip(names, zip(args, dims, strict=True), strict=True))
    shapes = {name: _shape_of_one(a, dim) for name, (a, dim) in named.items()}
    over_weights = any(
        dim is not None and row_axis(name, time_axis) is None and shapes[name] != (0,)
        for name, (_, dim) in named.items()
    )
    members = len(shapes["W_r"]) == 3
    fold = Fold(_size(args, dims), over_weights, members, None, time_axis)
    if over_weights and not members:
        return fold
    axis = fold.axis("xs")
    assert axis is not None
    return fold._replace(inner=shapes["xs"][axis])


def _shape_of_one(a: Array, dim: int | None) -> tuple[int, ...]:
    return a.shape if dim is None else a.shape[:dim] + a.shape[dim + 1 :]


def _fold(
    fold: Fold, names: Sequence[str], args: Sequence[Array], dims: Sequence[Any]
) -> list[Array]:
    """Returns operands with `vmap`'s axis folded into their rows or members."""
    folded = []
    for name, a, dim in zip(names, args, dims, strict=True):
        axis = fold.axis(name)
        if _shape_of_one(a, dim) == (0,):
            folded.append(absent(a.dtype))
        elif axis is None:
            folded.append(a)
        else:
            if dim is None:
                shape = (*a.shape[:axis], fold.size, *a.shape[axis:])
                a = jnp.broadcast_to(jnp.expand_dims(a, axis), shape)
            else:
                a = jnp.moveaxis(a, dim, axis)
            if fold.inner is not None:
                a = a.reshape(*a.shape[:axis], fold.size * fold.inner, *a.shape[axis + 2 :])
            folded.append(a)
    return folded


def _unfold(
    fold: Fold, names: Sequence[str], results: Sequence[Array]
) -> tuple[list[Array], list[int | None]]:
    """Returns results with `vmap`'s axis split off their rows or members, and its positions."""
    unfolded, axes = [], []
    for name, a in zip(names, results, strict=False):
        axis = None if is_absent(a) else fold.axis(name)
        if axis is not None and fold.inner is not None:
            a = a.reshape(*a.shape[:axis], fold.size, fold.inner, *a.shape[axis + 1 :])
        unfolded.append(a)
        axes.append(axis)
    return unfolded, axes
