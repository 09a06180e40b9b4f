"""The derivative of the GRU as a linear recurrence, dh_t = propagate(dh_{t-1}) + source_t.

Here a_* are the pre-activations and U_* the weights that act on the state. The gates see the state
s and the loop carries the state h; both are h_{t-1}, except under recurrent dropout.

    dr = r (1 - r) da_r     dz = z (1 - z) da_z     dc = (1 - c^2) da_c
    dh_t = (1 - z) dh + (c - h) dz + z dc
    da_r = dx_r + db_r + ds U_r + s dU_r                   similarly da_z
    da_c = dx_c + db_c + (r ds + s dr) U_c + (r s) dU_c    (reset="before")
    da_c = dx_c + db_c + r (ds U_c + s dU_c + db_h) + q dr (reset="after"), q = s U_c + b_h

The factors before each product are the coefficients; they need no derivative of the state. The
transpose of `propagate` is the backward recurrence. The transpose of `source` is the gradient of
the weights: one product for each, over all steps, after the loop.

The products are matrix products, or convolutions for states that are images.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind
from gru_jax.ops.products import MATMUL, Products, add_bias
from gru_jax.types import LinearRecurrence


class CoefficientsBefore(NamedTuple):
    """Coefficients of the reset="before" form."""

    keep: Float[Array, "*batch hidden"]
    r: Float[Array, "*batch hidden"]
    k_r: Float[Array, "*batch hidden"]
    k_z: Float[Array, "*batch hidden"]
    k_c: Float[Array, "*batch hidden"]


class CoefficientsAfter(NamedTuple):
    """Coefficients of the reset="after" form."""

    keep: Float[Array, "*batch hidden"]
    k_r: Float[Array, "*batch hidden"]
    k_z: Float[Array, "*batch hidden"]
    k_c: Float[Array, "*batch hidden"]
    k_h: Float[Array, "*batch hidden"]


def coefficients_before(gates, seen, h) -> CoefficientsBefore:
    """Returns the factors of the derivatives of state and pre-activations."""
    r, z, c, _ = gates
    return CoefficientsBefore(
        keep=1 - z,
        r=r,
        k_r=r * (1 - r) * seen,
        k_z=z * (1 - z) * (c - h),
        k_c=z * (1 - c * c),
    )


def source_before(
    products: Products, weights, k: CoefficientsBefore, seen, dweights, ddrive
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    s_r, s_z = products.dweights(seen, dweights.U_r, dweights.U_z)
    (s_c,) = products.dweights(k.r * seen, dweights.U_c)
    da_r = add_bias(ddrive.r + s_r, dweights.b_r)
    da_z = add_bias(ddrive.z + s_z, dweights.b_z)
    da_c = add_bias(ddrive.c + s_c, dweights.b_c)
    (through_r,) = products.tangents(k.k_r * da_r, weights.U_c)
    return k.k_z * da_z + k.k_c * (da_c + through_r)


def propagate_before(
    products: Products, weights, k: CoefficientsBefore, dseen, dh
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    da_r, da_z = products.tangents(dseen, weights.U_r, weights.U_z)
    (da_c,) = products.tangents(k.k_r * da_r + k.r * dseen, weights.U_c)
    return k.keep * dh + k.k_z * da_z + k.k_c * da_c


def coefficients_after(gates, seen, h) -> CoefficientsAfter:
    """Returns the factors of the derivatives of state and pre-activations."""
    del seen
    r, z, c, q = gates
    k_c = z * (1 - c * c)
    return CoefficientsAfter(
        keep=1 - z,
        k_r=k_c * q * r * (1 - r),
        k_z=z * (1 - z) * (c - h),
        k_c=k_c,
        k_h=k_c * r,
    )


def source_after(
    products: Products, weights, k: CoefficientsAfter, seen, dweights, ddrive
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    del weights
    s_r, s_z, s_c = products.dweights(seen, dweights.U_r, dweights.U_z, dweights.U_c)
    da_r = add_bias(ddrive.r + s_r, dweights.b_r)
    da_z = add_bias(ddrive.z + s_z, dweights.b_z)
    dq = add_bias(s_c, dweights.b_h)
    da_c = add_bias(ddrive.c, dweights.b_c)
    return k.k_r * da_r + k.k_z * da_z + k.k_c * da_c + k.k_h * dq


def propagate_after(
    products: Products, weights, k: CoefficientsAfter, dseen, dh
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    da_r, da_z, dq = products.tangents(dseen, weights.U_r, weights.U_z, weights.U_c)
    return k.keep * dh + k.k_r * da_r + k.k_z * da_z + k.k_h * dq


def derivative(
    reset: str, products: Products = MATMUL, clip: float | None = None
) -> LinearRecurrence:
    """Returns the derivative of one form.

    Args:
        reset: the form, "before" or "after".
        products: how weights act on the state.
        clip: the bound of each state; None for no bound.
    """
    if reset == "before":
        parts = coefficients_before, source_before, propagate_before
    else:
        parts = coefficients_after, source_after, propagate_after
    coefficients, source, propagate = parts
    rule = LinearRecurrence(coefficients, bind(source, products), bind(propagate, products))
    if clip is None:
        return rule
    return rule._replace(coefficients=bind(coefficients_clipped, clip, coefficients))


def coefficients_clipped(
    clip: float, coefficients: Callable[..., Any], gates: Any, seen: Array, h: Array
) -> Any:
    """Returns the coefficients, with dh_t zero where the state is clipped."""
    within = jnp.abs((1 - gates.z) * h + gates.z * gates.c) < clip
    return coefficients(saturate(gates, within), seen, h)


def saturate(gates: Any, within: Array) -> Any:
    """Returns the gates with z = c = 1 where not `within`: each term of dh_t is then zero."""
    return gates._replace(
        z=jnp.where(within, gates.z, 1),
        c=jnp.where(within, gates.c, 1),
    )
