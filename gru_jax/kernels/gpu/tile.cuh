// Multiplies weights in registers with vectors in shared memory.

#pragma once

#include <chip.cuh>  // the GPU's, or the tests' replacement for a CPU

#include "problem.h"

namespace gru::gpu {

// A thread's part of the weights of one gate: `columns` columns from `column` on, and of each the
// rows 4 (slice + i slices) + 0..3, so that neighbouring lanes read neighbouring addresses.
template <int Width>
struct Tile {
  static constexpr Shape kShape = shape_of(Width);
  static constexpr int kUnits = kShape.units();

  int slice, gate, column;
  float w[4 * kShape.chunks][kShape.columns];

  GRU_INLINE Tile() {
    const int lane = thread_index() % 32, warp = thread_index() / 32;
    slice = lane % kShape.slices;
    gate = warp / 4;
    column = (warp % 4 * (32 / kShape.slices) + lane / kShape.slices) * kShape.columns;
  }

  // Loads the weights; row n of U has those of unit n. Pads with zeros beyond `hidden`.
  GRU_INLINE void load(const float* const U[3], int first, int hidden) {
    const float* of_gate = gate == 0 ? U[0] : gate == 1 ? U[1] : U[2];
#pragma unroll
    for (int c = 0; c < kShape.columns; ++c) {
      const int n = first + column + c;
#pragma unroll
      for (int i = 0; i < 4 * kShape.chunks; ++i) {
        const int k = 4 * (slice + i / 4 * kShape.slices) + i % 4;
        w[i][c] = k < hidden && n < hidden ? of_gate[n * hidden + k] : 0.0f;
      }
    }
  }

  // Writes the products of one vector: `vector` is [Width], `sums` [3][units].
  GRU_INLINE void multiply(const float* vector, float* sums) const {
    float a[kShape.columns] = {};
#pragma unroll
    for (int i = 0; i < kShape.chunks; ++i) {
      const Four x = load_four(vector + 4 * (slice + i * kShape.slices));
#pragma unroll
      for (int c = 0; c < kShape.columns; ++c) {
        a[c] = fmaf(x.a, w[4 * i][c], a[c]);
        a[c] = fmaf(x.b, w[4 * i + 1][c], a[c]);
        a[c] = fmaf(x.c, w[4 * i + 2][c], a[c]);
        a[c] = fmaf(x.d, w[4 * i + 3][c], a[c]);
      }
    }
    add_lanes<kShape.columns, kShape.slices / 2>(a);
    constexpr int each = kShape.slices / kShape.columns;  // lanes with the same sum
    if (slice % each == 0) sums[gate * kUnits + column + slice / each] = a[0];
  }

  // Adds `a` over the lanes that share columns. Each exchange halves the columns of a lane,
  // down to one.
  template <int Count, int Mask>
  GRU_INLINE void add_lanes(float* a) const {
    if constexpr (Count > 1) {
      constexpr int half = Count / 2;
      const bool upper = slice & Mask;
#pragma unroll
      for (int c = 0; c < half; ++c) {
        const float other = exchange(upper ? a[c] : a[c + half], Mask);
        a[c] = (upper ? a[c + half] : a[c]) + other;
      }
      if constexpr (Mask > 1) add_lanes<half, Mask / 2>(a);
    } else {
      a[0] += exchange(a[0], Mask);
      if constexpr (Mask > 1) add_lanes<1, Mask / 2>(a);
    }
  }
};

}  // namespace gru::gpu
