// Sigmoid and tanh in float32, with the same bits on every IEEE 754 chip.

#pragma once

#include <chip.cuh>  // the GPU's, or the tests' replacement for a CPU

namespace gru::gpu {

// x = n ln 2 + r with |r| <= ln(2) / 2; returns e^r - 1, and sets *scale to 2^n. See cpu/simd.h.
GRU_INLINE float exp_minus_1(float x, float* scale) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float n = fmaf(x, 1.44269504088896341f, magic);
  const unsigned exponent = static_cast<unsigned>(bits(n)) - static_cast<unsigned>(bits(magic));
  n -= magic;
  const float r = fmaf(-n, 1.42860682030941723e-6f, fmaf(-n, 0.693145751953125f, x));
  float p = fmaf(r, 0x1.a032c4p-13f, 0x1.6d723ep-10f);
  p = fmaf(p, r, 0x1.11118ap-7f);
  p = fmaf(p, r, 0x1.5554bp-5f);
  p = fmaf(p, r, 0x1.555554p-3f);
  p = fmaf(p, r, 0.5f);
  *scale = from_bits(static_cast<int>((exponent + 127) << 23));
  return fmaf(r * r, p, r);
}

// 1 / x for x from 1 to 2^126, correctly rounded but for mantissas of all ones; 0 above.
GRU_INLINE float reciprocal(float x) {
  const float y = rough_reciprocal(x);
  return fmaf(y, fmaf(-x, y, 1.0f), y);
}

// 1 / (1 + e^-x): within 2.5 ulp where that is a normal number, 0 where it is not; NaN stays NaN.
GRU_INLINE float sigmoid(float x) {
  float scale;
  const float e = exp_minus_1(x < -88.3f ? 88.3f : x > 87.0f ? -87.0f : -x, &scale);
  return reciprocal(1.0f + fmaf(scale, e, scale));
}

// -e / (2 + e) with e = e^{-2|x|} - 1, and the sign of x: within 2.5 ulp; NaN stays NaN.
GRU_INLINE float hyperbolic_tangent(float x) {
  const float a = fabsf(x);
  float scale, e = exp_minus_1(a > 10.0f ? -20.0f : -2.0f * a, &scale);
  e = fmaf(scale, e, scale - 1.0f);
  // The quotient, corrected once by its remainder: Markstein (1990), "Computation of elementary
  // functions on the IBM RISC System/6000 processor", theorem 8.
  const float y = reciprocal(2.0f + e), quotient = -e * y;
  return copysignf(fmaf(fmaf(-(2.0f + e), quotient, -e), y, quotient), x);
}

// The nearest number within +-bound; NaN stays NaN.
GRU_INLINE float clipped(float x, float bound) {
  return x > bound ? bound : x < -bound ? -bound : x;
}

}  // namespace gru::gpu
