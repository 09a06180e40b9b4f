"""Both passes as one call each of the compiled code, which computes them whole."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.interpreters import mlir

from gru_jax.kernels.cpu import library
from gru_jax.kernels.operands import Gradients, Outputs, Saved


def forward(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
    """Lowers the forward pass."""
    none = ShapedArray((0,), jnp.float32)
    missing = [none] * (len(Outputs._fields) - len(ctx.avals_out))
    call = jax.ffi.ffi_lowering(library.FORWARD)
    whole = ctx.replace(avals_out=[*ctx.avals_out, *missing])
    return call(whole, *operands, **_attributes(static))[: len(ctx.avals_out)]


def backward(ctx: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Sequence[Any]:
    """Lowers the backward pass."""
    # Gradients of gates overwrite the gates. (reset="before" reads r to the end.)
    over = {"z": "a_z", "c": "a_c"} | ({"q": "q", "r": "a_r"} if static["after"] else {})
    aliases = {Saved._fields.index(i): Gradients._fields.index(o) for i, o in over.items()}
    call = jax.ffi.ffi_lowering(library.BACKWARD, operand_output_aliases=aliases)
    return call(ctx, *operands, **_attributes(static))


def _attributes(static: dict[str, Any]) -> dict[str, Any]:
    clip = np.inf if static["clip"] is None else static["clip"]
    attributes = static | {"time_axis": np.int64(static["time_axis"]), "clip": np.float32(clip)}
    for name in ("kernel", "required"):
        attributes.pop(name, None)
    return attributes
