"""The kernel as JAX sees it: three primitives.

    forward     Inputs -> Outputs
    tangent     (Saved, Tangents) -> the tangent of the states, linear in Tangents; always in JAX
    backward    (Saved, the gradient of the states) -> Gradients, the transpose of tangent

Static parameters are the same as in `twin`, and `kernel`, the name of the compiled code. Forward
has one more, `required`: raise if it cannot run.
"""

from collections.abc import Sequence
from typing import Any

from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from gru_jax.kernels import twin
from gru_jax.kernels.operands import Gradients, Inputs, Outputs, Saved
from gru_jax.kernels.report import fall_back

forward_p, tangent_p, backward_p = (
    Primitive(f"gru_jax_{name}") for name in ("forward", "tangent", "backward")
)
forward_p.multiple_results = backward_p.multiple_results = True


TWINS = {forward_p: twin.forward, tangent_p: twin.tangent, backward_p: twin.backward}
for primitive in (tangent_p, backward_p):
    primitive.def_impl(TWINS[primitive])


@forward_p.def_impl
def _without_jit(*operands: Array, kernel: str, required: bool, **static: Any) -> Sequence[Array]:
    fall_back("what runs without jit", kernel if required else None)
    return twin.forward(*operands, **static)


@forward_p.def_abstract_eval
def _forward(*operands: ShapedArray, after: bool, keep: bool, **_: Any) -> list[ShapedArray]:
    inputs = Inputs(*operands)
    hs = like(inputs.xs, (*inputs.xs.shape[:-1], inputs.h0.shape[-1]))
    gates = Outputs(hs, hs, hs, hs, hs if after else like(inputs.xs, (0,)))
    return list(gates if keep else gates[:1])


@tangent_p.def_abstract_eval
def _tangent(*operands: ShapedArray, **_: Any) -> ShapedArray:
    return Saved(*operands[: len(Saved._fields)]).hs


@backward_p.def_abstract_eval
def _backward(
    *operands: ShapedArray, after: bool, products: bool, inputs: bool, **_: Any
) -> list[ShapedArray]:
    saved = Saved(*operands[:-1])
    none, a = like(saved.xs, (0,)), saved.hs
    *members, _, hidden = saved.W_r.shape
    W, b = like(saved.xs, saved.W_r.shape), like(saved.xs, (*members, hidden))
    gradients = Gradients(
        *(a, a, a, a if after else none, saved.h0, saved.h_reset),
        xs=saved.xs if inputs else none,
        **dict.fromkeys(("W_r", "W_z", "W_c"), W if products else none),
        **dict.fromkeys(("b_r", "b_z", "b_c"), b if products else none),
        b_h=b if products and after else none,
    )
    return list(gradients)


def like(aval: ShapedArray, shape: tuple[int, ...]) -> ShapedArray:
    """Returns an abstract array of another shape that varies over a mesh as `aval` does."""
    spec = PartitionSpec(*[None] * len(shape))
    return aval.update(shape=shape, sharding=NamedSharding(aval.sharding.mesh, spec))
