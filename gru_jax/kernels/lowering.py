"""Which code a program gets for the kernel's primitives: the compiled code, or its twin.

The compiled code is for CPUs and sizes of 1 or more. All other programs get the twin, and so do
exported programs. On a mesh, each device runs the compiled code on its own rows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir

from gru_jax.kernels.cpu import library
from gru_jax.kernels.operands import DERIVED, Gradients, Inputs, Outputs, Saved
from gru_jax.kernels.partition import on_rows
from gru_jax.kernels.primitives import TWINS, backward_p, forward_p
from gru_jax.kernels.report import fall_back, kernel_runs

try:
    from jax._src.dispatch import prim_requires_devices_during_lowering as with_devices
except ImportError:  # Not public: without it, programs on several devices get the twin.
    with_devices = set()


Lower: TypeAlias = Callable[..., Sequence[Any]]

NAMES = {
    forward_p: (Inputs._fields, Outputs._fields),
    backward_p: (DERIVED, Gradients._fields),
}
"""The names of each primitive's operands and results."""


def register() -> None:
    """Registers the primitives' lowerings with JAX."""
    for primitive, twin in TWINS.items():
        rule = mlir.lower_fun(twin, multiple_results=primitive.multiple_results)
        mlir.register_lowering(primitive, _say(rule) if primitive is forward_p else rule)
        if compiled := {forward_p: _forward, backward_p: _backward}.get(primitive):
            mlir.register_lowering(primitive, _choose(primitive, rule, compiled), platform="cpu")
            with_devices.add(primitive)


def _say(twin: Lower) -> Lower:
    """Returns the lowering for platforms other than CPU."""

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
        platforms = ", ".join(ctx.module_context.platforms)
        fall_back(f"programs on {platforms}", static["required"])
        return twin(ctx, *operands, **static)

    return lower


def _choose(primitive: Primitive, twin: Lower, compiled: Lower) -> Lower:
    """Returns the lowering for CPUs."""

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
        why_not, context = _obstacle(ctx), ctx.module_context.axis_context
        several = isinstance(context, mlir.ShardingContext) and context.num_devices > 1
        if not why_not and several:  # Lowered here again, for each device.
            function = on_rows(
                partial(primitive.bind, **static),
                dict(zip(NAMES[primitive][0], ctx.avals_in, strict=True)),
                dict(zip(NAMES[primitive][1], ctx.avals_out, strict=False)),
                static["time_axis"],
            )
            return mlir.lower_fun(function, multiple_results=True)(ctx, *operands)
        if primitive is forward_p and why_not:
            # Nothing runs on empty arrays, so no backend is refused.
            fall_back(why_not, static["required"] and 0 not in ctx.avals_out[0].shape)
        elif primitive is forward_p:
            kernel_runs()
        return (twin if why_not else compiled)(ctx, *operands, **static)

    return lower


def _obstacle(ctx: mlir.LoweringRuleContext) -> str | None:
    """Returns why a program gets the twin, a phrase; None if it gets the compiled code."""
    hs, context = ctx.avals_out[0], ctx.module_context.axis_context
    if missing := library.reason():
        return f"the want of a kernel: {missing.removesuffix('.')}"
    if 0 in hs.shape:
        return "arrays of no size"
    if ctx.module_context.lowering_parameters.for_export:
        return "programs that are exported"  # They may run without a kernel.
    if isinstance(context, mlir.ShardingContext) and context.num_devices > 1:
        # Without a mesh it is unknown which devices have the same rows.
        if not (context.device_assignment and context.abstract_mesh):
            return "programs on several devices without a mesh"
    if isinstance(context, mlir.SPMDAxisContext):
        if set(context.manual_axes) != set(context.mesh.axis_names):
            return "a shard_map over some axes of a mesh"
    return None


def _forward(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
    none = ShapedArray((0,), jnp.float32)
    missing = [none] * (len(Outputs._fields) - len(ctx.avals_out))
    call = jax.ffi.ffi_lowering(library.FORWARD)
    whole = ctx.replace(avals_out=[*ctx.avals_out, *missing])
    return call(whole, *operands, **_attributes(static))[: len(ctx.avals_out)]


def _backward(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
    # Gradients of gates overwrite the gates. (reset="before" reads r to the end.)
    over = {"z": "a_z", "c": "a_c"} | ({"q": "q", "r": "a_r"} if static["after"] else {})
    aliases = {Saved._fields.index(i): Gradients._fields.index(o) for i, o in over.items()}
    call = jax.ffi.ffi_lowering(library.BACKWARD, operand_output_aliases=aliases)
    return call(ctx, *operands, **_attributes(static))


def _attributes(static: dict[str, Any]) -> dict[str, Any]:
    clip = np.inf if static["clip"] is None else static["clip"]
    attributes = static | {"time_axis": np.int64(static["time_axis"]), "clip": np.float32(clip)}
    attributes.pop("required", None)
    return attributes
