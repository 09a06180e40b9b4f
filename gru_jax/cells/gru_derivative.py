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
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from gru_jax.ops.products import add_bias, columns, matmul, matmul_columns
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
    weights, k: CoefficientsBefore, seen, dweights, ddrive
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    batch, s, rs = seen.shape[:-1], columns(seen), columns(k.r * seen)
    da_r = add_bias(ddrive.r + matmul_columns(s, dweights.U_r, batch), dweights.b_r)
    da_z = add_bias(ddrive.z + matmul_columns(s, dweights.U_z, batch), dweights.b_z)
    da_c = add_bias(ddrive.c + matmul_columns(rs, dweights.U_c, batch), dweights.b_c)
    return k.k_z * da_z + k.k_c * (da_c + matmul(k.k_r * da_r, weights.U_c))


def propagate_before(weights, k: CoefficientsBefore, dseen, dh) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    da_c = matmul(k.k_r * matmul(dseen, weights.U_r) + k.r * dseen, weights.U_c)
    return k.keep * dh + k.k_z * matmul(dseen, weights.U_z) + k.k_c * da_c


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
    weights, k: CoefficientsAfter, seen, dweights, ddrive
) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from weights and inputs at t."""
    del weights
    batch, s = seen.shape[:-1], columns(seen)
    da_r = add_bias(ddrive.r + matmul_columns(s, dweights.U_r, batch), dweights.b_r)
    da_z = add_bias(ddrive.z + matmul_columns(s, dweights.U_z, batch), dweights.b_z)
    dq = add_bias(matmul_columns(s, dweights.U_c, batch), dweights.b_h)
    da_c = add_bias(ddrive.c, dweights.b_c)
    return k.k_r * da_r + k.k_z * da_z + k.k_c * da_c + k.k_h * dq


def propagate_after(weights, k: CoefficientsAfter, dseen, dh) -> Float[Array, "*batch hidden"]:
    """Returns the part of dh_t that comes from dh_{t-1}."""
    return (
        k.keep * dh
        + k.k_r * matmul(dseen, weights.U_r)
        + k.k_z * matmul(dseen, weights.U_z)
        + k.k_h * matmul(dseen, weights.U_c)
    )


BEFORE = LinearRecurrence(coefficients_before, source_before, propagate_before)
AFTER = LinearRecurrence(coefficients_after, source_after, propagate_after)
