// The states of some rows through all steps, by one cluster of blocks.
//
// A step: the products with the whole old state, the gates of the block's own units, and their new
// states to every block of the cluster. With reset="before", r h goes the same way in between.

#pragma once

#include "gates.h"
#include "tile.h"

namespace gru::gpu {

template <int Width, bool After>
GRU_INLINE void forward(const Forward& f) {
  constexpr Shape kShape = shape_of(Width);
  constexpr int kUnits = kShape.units(), kBlocks = kShape.blocks();
  constexpr int kRow = ring_row(kShape, kDriveArrays), kSlots = kAhead + 1;
  const Layout layout = layout_of(kShape, false, f.rows_each);
  float* const shared = shared_memory();
  float* const sums = shared + layout.sums;
  float* const bias = shared + layout.bias;
  float* const resets = shared + layout.resets;
  const int first_unit = block_rank<kBlocks>() * kUnits;
  const int first_row = block_index() / kBlocks * f.rows_each;
  const int rows = f.rows - first_row < f.rows_each ? f.rows - first_row : f.rows_each;
  const int H = f.hidden;
  const auto state = [&](int i, int row) { return shared + (i % 2 * f.rows_each + row) * Width; };
  const auto reset_state = [&](int row) { return shared + (2 * f.rows_each + row) * Width; };
  const auto slot = [&](int i, int row) {
    return shared + layout.ring + (i % kSlots * f.rows_each + row) * kRow;
  };
  const auto at = [&](int i, int row) {  // where the i-th step that runs stands
    const int t = f.reverse ? f.time - 1 - i : i;
    return t * f.time_stride + (first_row + row) * f.row_stride;
  };
  // Calls body(row, unit of the block, unit) for all that this thread is responsible for.
  const auto each = [&](const auto& body) {
#pragma unroll 1
    for (int item = thread_index(); item < rows * kUnits; item += kThreads) {
      const int row = item / kUnits, j = item % kUnits;
      if (first_unit + j < H) body(row, j, first_unit + j);
    }
  };
  const auto fetch = [&](int i) {
    if (i < f.time) {
      each([&](int row, int j, int unit) {
        const float* from = f.drive + at(i, row) * 3 * H + unit;
        for (int gate = 0; gate < 3; ++gate) copy_later(slot(i, row) + gate * kUnits + j, from + gate * H);
      });
      if (f.flags && thread_index() < rows) {
        for (int row = thread_index(); row < rows; row += kThreads) {
          copy_later(reinterpret_cast<int*>(slot(i, row) + 3 * kUnits), f.flags + at(i, row));
        }
      }
    }
    end_group();
  };

  Tile<Width> tile;
  tile.load(f.U, first_unit, H, H, 1);
  for (int i = thread_index(); i < layout.sums; i += kThreads) shared[i] = 0.0f;
  sync_block();
  for (int i = thread_index(); i < rows * H; i += kThreads) {
    state(0, i / H)[i % H] = f.h0[first_row * static_cast<long long>(H) + i];
  }
  each([&](int row, int j, int unit) {
    for (int gate = 0; row == 0 && gate < (After ? 4 : 3); ++gate) bias[gate * kUnits + j] = f.b[gate][unit];
    if (f.flags) resets[row * kUnits + j] = f.h_reset[static_cast<long long>(first_row + row) * H + unit];
  });
  for (int i = 0; i < kAhead; ++i) fetch(i);
  sync_cluster<kBlocks>();

  const auto multiply = [&](bool mine, const auto& vector) {
    if (mine) {
#pragma unroll 1
      for (int row = 0; row < rows; ++row) tile.multiply(vector(row), sums + row * 3 * kUnits);
    }
    sync_block();
  };
  const auto pre = [&](int i, int row, int j, int gate) {
    const int at = gate * kUnits + j;
    return sums[row * 3 * kUnits + at] + slot(i, row)[at] + bias[at];
  };
  const auto keep = [&](int gate, int i, int row, int unit, float value) {
    if (f.gates[gate]) f.gates[gate][at(i, row) * H + unit] = value;
  };

#pragma unroll 1
  for (int i = 0; i < f.time; ++i) {
    fetch(i + kAhead);
    wait_for_copies<kAhead>();
    if (!After) {
      multiply(tile.gate < 2, [&](int row) { return state(i, row); });
      each([&](int row, int j, int unit) {
        const float r = sigmoid(pre(i, row, j, 0));
        keep(0, i, row, unit, r);
        store_in_all<kBlocks>(reset_state(row) + unit, r * state(i, row)[unit]);
      });
      sync_cluster<kBlocks>();
    }
    multiply(After || tile.gate == 2,
             [&](int row) { return After ? state(i, row) : reset_state(row); });
    each([&](int row, int j, int unit) {
      const float old = state(i, row)[unit], z = sigmoid(pre(i, row, j, 1));
      float a = pre(i, row, j, 2);
      if (After) {
        const float r = sigmoid(pre(i, row, j, 0));
        const float q = sums[row * 3 * kUnits + 2 * kUnits + j] + bias[3 * kUnits + j];
        a = fmaf(r, q, slot(i, row)[2 * kUnits + j] + bias[2 * kUnits + j]);
        keep(0, i, row, unit, r);
        keep(3, i, row, unit, q);
      }
      const float c = hyperbolic_tangent(a);
      const int flags = f.flags ? bits(slot(i, row)[3 * kUnits]) : kValid;
      float next = old;
      if (flags & kValid) next = clipped(fmaf(z, c, (1.0f - z) * old), f.clip);
      keep(1, i, row, unit, z);
      keep(2, i, row, unit, c);
      f.hs[at(i, row) * H + unit] = next;
      if (flags & kResetNext) next = resets[row * kUnits + j];
      store_in_all<kBlocks>(state(i + 1, row) + unit, next);
    });
    sync_cluster<kBlocks>();
  }
}

}  // namespace gru::gpu
