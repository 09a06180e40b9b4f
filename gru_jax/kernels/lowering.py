"""Chooses the code for the kernel's primitives: compiled code, or its JAX twin.

A kernel runs on one platform and needs non-empty arrays. Other programs and exported ones get the
twin. On a mesh, each device runs the compiled code on its own rows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from jax.extend.core import Primitive
from jax.interpreters import mlir

from gru_jax.kernels.cpu import calls as cpu_calls
from gru_jax.kernels.cpu import library as cpu_library
from gru_jax.kernels.gpu import calls as gpu_calls
from gru_jax.kernels.gpu import library as gpu_library
from gru_jax.kernels.gpu.compiler import Pass
from gru_jax.kernels.operands import DERIVED, Gradients, Inputs, Outputs
from gru_jax.kernels.partition import on_rows
from gru_jax.kernels.primitives import TWINS, backward_p, forward_p
from gru_jax.kernels.report import fall_back, fall_back_in_part, kernel_runs

try:
    from jax._src.dispatch import prim_requires_devices_during_lowering as with_devices
except ImportError:  # Not public: without it, programs on several devices get the twin.
    with_devices = set()


Lower: TypeAlias = Callable[..., Sequence[Any]]


class Kernel(NamedTuple):
    """A compiled kernel, and when it can run.

    Attributes:
        platform: JAX's name of the platform.
        reason: `() -> sentence`, why it cannot run here; None if it can.
        obstacle: `(pass, hidden, after) -> phrase`, why it cannot run such a pass; None if it can.
        forward: lowers the forward pass.
        backward: lowers the backward pass.
    """

    platform: str
    reason: Callable[[], str | None]
    obstacle: Callable[[Pass, int, bool], str | None]
    forward: Lower
    backward: Lower


KERNELS = {
    "cpu": Kernel(
        "cpu",
        lambda: cpu_library.reason(),
        lambda *_: None,
        cpu_calls.forward,
        cpu_calls.backward,
    ),
    "gpu": Kernel(
        "cuda",
        lambda: gpu_library.reason(),
        lambda *about: gpu_library.obstacle(*about),
        mlir.lower_fun(gpu_calls.forward, multiple_results=True),
        mlir.lower_fun(gpu_calls.backward, multiple_results=True),
    ),
}
"""The kernels, keyed by the primitives' parameter `kernel`."""

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
        if primitive in NAMES:
            for platform in {kernel.platform for kernel in KERNELS.values()}:
                lower = _choose(primitive, rule, platform)
                mlir.register_lowering(primitive, lower, platform=platform)
            with_devices.add(primitive)


def _say(twin: Lower) -> Lower:
    """Returns the lowering for platforms without a kernel."""

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
        fall_back(_elsewhere(ctx), static["required"])
        return twin(ctx, *operands, **static)

    return lower


def _choose(primitive: Primitive, twin: Lower, platform: str) -> Lower:
    """Returns the lowering for a platform with a kernel."""

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
        kernel, context = KERNELS[static["kernel"]], ctx.module_context.axis_context

        def obstacle(way: Pass) -> str | None:
            if kernel.platform != platform:
                return _elsewhere(ctx)
            return _obstacle(ctx, kernel, way, static["after"])

        why_not = obstacle("forward" if primitive is forward_p else "backward")
        several = isinstance(context, mlir.ShardingContext) and context.num_devices > 1
        if not why_not and several:
            # on_rows binds the primitive again, which is lowered here for one device.
            function = on_rows(
                partial(primitive.bind, **static),
                dict(zip(NAMES[primitive][0], ctx.avals_in, strict=True)),
                dict(zip(NAMES[primitive][1], ctx.avals_out, strict=False)),
                static["time_axis"],
            )
            return mlir.lower_fun(function, multiple_results=True)(ctx, *operands)
        if primitive is forward_p and why_not:
            # An empty array needs no kernel, so a required backend is not an error.
            fall_back(why_not, static["required"] and 0 not in ctx.avals_out[0].shape)
        elif primitive is forward_p:
            kernel_runs()
        elif why_not and not obstacle("forward"):
            fall_back_in_part(why_not)
        if why_not:
            return twin(ctx, *operands, **static)
        compiled = kernel.forward if primitive is forward_p else kernel.backward
        return compiled(ctx, *operands, **static)

    return lower


def _elsewhere(ctx: mlir.LoweringRuleContext) -> str:
    return f"programs on {', '.join(ctx.module_context.platforms)}"


def _obstacle(ctx: mlir.LoweringRuleContext, kernel: Kernel, way: Pass, after: bool) -> str | None:
    """Returns why a program gets the twin, a phrase; None if it gets the compiled code."""
    hs, context = ctx.avals_out[0], ctx.module_context.axis_context
    if missing := kernel.reason():
        return f"the want of a kernel: {missing.removesuffix('.')}"
    if 0 in hs.shape:
        return "arrays of no size"
    if obstacle := kernel.obstacle(way, hs.shape[-1], after):
        return obstacle
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
