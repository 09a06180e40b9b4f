// Vectors of the instruction set that this is compiled for, and the activations on them.
//
// A header of variant.cc alone: everything in it stands in a namespace of that set, and nothing of
// the standard library that the linker could share with code for another set is called.

#pragma once

#include <cstdint>
#include <cstring>

namespace gru::GRU_LEVEL {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 12;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRows = 6;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRows = 12;
#else
constexpr int kLanes = 4, kRows = 6;
#endif

// The tile of a product that stays in registers is kRows x kPanel.
constexpr int kPanel = 2 * kLanes;

typedef float V __attribute__((vector_size(4 * kLanes)));
typedef int32_t VI __attribute__((vector_size(4 * kLanes)));

#define GRU_INLINE static inline __attribute__((always_inline))

GRU_INLINE V load(const float* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

GRU_INLINE void store(float* p, V v) { memcpy(p, &v, sizeof v); }

// The first `count` lanes; the others are zero, and what lies behind them in memory is not read.
GRU_INLINE V load(const float* p, int64_t count) {
  if (count >= kLanes) return load(p);
  V v = {};
  if (count > 0) memcpy(&v, p, 4 * count);
  return v;
}

GRU_INLINE void store(float* p, V v, int64_t count) {
  if (count >= kLanes) {
    store(p, v);
  } else if (count > 0) {
    memcpy(p, &v, 4 * count);
  }
}

GRU_INLINE V same(float x) { return x - V{}; }

GRU_INLINE VI bits(V v) { return (VI)v; }
GRU_INLINE V floats(VI v) { return (V)v; }

// The nearest number within +-bound; NaN stays NaN.
GRU_INLINE V clipped(V x, float bound) {
  return x > bound ? same(bound) : x < -bound ? same(-bound) : x;
}

// x, but zero where the state is at the bound or NaN.
GRU_INLINE V unless_clipped(V x, V state, float bound) {
  return floats(bits(x) & (state > -bound) & (state < bound));
}

// x = n ln 2 + r with |r| <= ln(2) / 2; returns e^r - 1, and 2^n by `scale`.
//
// ln 2 is split so that n times its first part is exact. The polynomial is the minimax one of
// (e^r - 1 - r) / r^2, of degree 5: relative error of e^r - 1 below 2^-28.
GRU_INLINE V exp_minus_1(V x, V* scale) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  V n = x * 1.44269504088896341f + magic;
  VI exponent = bits(n) - bits(same(magic));
  n -= magic;
  V r = (x - n * 0.693145751953125f) - n * 1.42860682030941723e-6f;
  V p = r * 0x1.a032c4p-13f + 0x1.6d723ep-10f;
  p = p * r + 0x1.11118ap-7f;
  p = p * r + 0x1.5554bp-5f;
  p = p * r + 0x1.555554p-3f;
  p = p * r + 0.5f;
  *scale = floats((exponent + 127) << 23);
  return r + r * r * p;
}

// 1 / (1 + e^-x): within 2.5 ulp where that is a normal number, below 5e-39 where it is not; NaN
// stays NaN.
GRU_INLINE V sigmoid(V x) {
  V y = x < -88.3f ? same(88.3f) : x > 87.0f ? same(-87.0f) : -x;
  V scale, e = exp_minus_1(y, &scale);
  return 1.0f / (1.0f + (scale + scale * e));
}

// -e / (2 + e) with e = e^{-2|x|} - 1, and the sign of x: within 2.5 ulp; NaN stays NaN.
GRU_INLINE V tanh(V x) {
  VI sign = bits(x) & INT32_MIN;
  V a = floats(bits(x) ^ sign);
  V scale, e = exp_minus_1(a > 10.0f ? same(-20.0f) : -2.0f * a, &scale);
  e = scale * e + (scale - 1.0f);
  return floats(bits((0.0f - e) / (2.0f + e)) ^ sign);
}

}  // namespace gru::GRU_LEVEL
