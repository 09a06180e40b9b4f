// A block's share of the work: some rows, and some units of their states.

#pragma once

#include <chip.cuh>  // the GPU's, or the tests' replacement for a CPU

#include "problem.h"

namespace gru::gpu {

template <int Width, bool Backwards>
struct Share {
  static constexpr Shape kShape = shape_of(Width);
  static constexpr int kUnits = kShape.units(), kBlocks = kShape.blocks();
  static constexpr int kArrays = Backwards ? kSavedArrays : kDriveArrays;

  const Problem& p;
  const Layout layout;
  float* const shared;
  const int first_unit, first_row, rows;

  GRU_INLINE explicit Share(const Problem& problem)
      : p(problem),
        layout(layout_of(kShape, Backwards, problem.rows_each)),
        shared(shared_memory()),
        first_unit(block_rank<kBlocks>() * kUnits),
        first_row(block_index() / kBlocks * problem.rows_each),
        rows(smaller(problem.rows - first_row, problem.rows_each)) {}

  // The time of the i-th step. The backward pass runs against the forward pass.
  GRU_INLINE int time_of(int i) const { return p.reverse != Backwards ? p.time - 1 - i : i; }

  // The index of (time t, first row) in an array of steps, and in an array of states.
  GRU_INLINE long long step(int t) const { return t * p.time_stride + first_row * p.row_stride; }
  GRU_INLINE long long state(int t) const { return step(t) * p.hidden; }

  // The offset of a row's state in [rows][hidden].
  GRU_INLINE long long of_row(int row) const {
    return static_cast<long long>(first_row + row) * p.hidden;
  }

  // Calls body(row, unit of the block, unit) for all that this thread is responsible for.
  template <typename Body>
  GRU_INLINE void each(const Body& body) const {
#pragma unroll 1
    for (int item = thread_index(); item < rows * kUnits; item += kThreads) {
      const int row = item / kUnits, j = item % kUnits;
      if (first_unit + j < p.hidden) body(row, j, first_unit + j);
    }
  }

  // Starts copying the i-th step's inputs into the ring. For each four units of this
  // thread, calls copy(row, array, unit, bring); copy calls bring(address of the first).
  template <typename Copy>
  GRU_INLINE void fetch(int i, const Copy& copy) const {
    if (i < p.time) {
      constexpr int kFours = kUnits / 4;
      const bool aligned = p.hidden % 4 == 0;
#pragma unroll 1
      for (int item = thread_index(); item < rows * kArrays * kFours; item += kThreads) {
        const int row = item / (kArrays * kFours), array = item / kFours % kArrays;
        const int unit = first_unit + item % kFours * 4, left = p.hidden - unit;
        if (left <= 0) continue;
        copy(row, array, unit, [&](const float* from) {
          float* to = ring(i, 0) + 4 * item;
          if (aligned) return copy_later<16>(to, from);
#pragma unroll 1
          for (int n = 0; n < smaller(left, 4); ++n) copy_later<4>(to + n, from + n);
        });
      }
      if (p.flags) {
#pragma unroll 1
        for (int row = thread_index(); row < rows; row += kThreads) {
          copy_later<4>(&flags(i, row), p.flags + step(time_of(i)) + row * p.row_stride);
        }
      }
    }
    end_group();
  }

  GRU_INLINE float* ring(int i, int row) const {
    return shared + layout.ring + (i % (kAhead + 1) * p.rows_each + row) * kArrays * kUnits;
  }
  GRU_INLINE int& flags(int i, int row) const {
    return reinterpret_cast<int*>(shared + layout.flags)[i % (kAhead + 1) * p.rows_each + row];
  }
  GRU_INLINE int flags_of(int i, int row) const { return p.flags ? flags(i, row) : kValid; }

  GRU_INLINE float* vector(int which, int row) const {
    return shared + (which * p.rows_each + row) * Width;
  }
  GRU_INLINE float* sums(int row) const { return shared + layout.sums + row * 3 * kUnits; }
  GRU_INLINE float& bias(int gate, int j) const { return shared[layout.bias + gate * kUnits + j]; }
  GRU_INLINE float& reset(int row, int j) const { return shared[layout.resets + row * kUnits + j]; }
  GRU_INLINE float& reset_sum(int row, int j) const {
    return shared[layout.resets + (p.rows_each + row) * kUnits + j];
  }
  GRU_INLINE float& carry(int row, int j) const { return shared[layout.carry + row * kUnits + j]; }

 private:
  static GRU_INLINE int smaller(int a, int b) { return a < b ? a : b; }
};

}  // namespace gru::gpu
