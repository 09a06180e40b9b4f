// The gradients of some rows, from the last step that ran to the first, by one cluster of blocks.
//
// l is what arrives at a state. A step: the gradients of the gates of the block's own units, sent
// to every block of the cluster; the products of all of them with the block's own rows of the
// weights, which are whole sums, so that no order of arrival matters. The equations are those of
// cpu/backward.h. With reset="before", the product of da_c comes first and gives da_r.

#pragma once

#include "gates.h"
#include "tile.h"

namespace gru::gpu {

template <int Width, bool After>
GRU_INLINE void backward(const Backward& f) {
  constexpr Shape kShape = shape_of(Width);
  constexpr int kUnits = kShape.units(), kBlocks = kShape.blocks();
  constexpr int kRow = ring_row(kShape, kSavedArrays), kSlots = kAhead + 1;
  enum Saved { kR, kZ, kC, kQ, kBefore, kState, kGradient };
  const Layout layout = layout_of(kShape, true, f.rows_each);
  float* const shared = shared_memory();
  float* const sums = shared + layout.sums;
  float* const resets = shared + layout.resets;
  float* const reset_sums = resets + f.rows_each * kUnits;
  float* const carry = shared + layout.carry;
  const int first_unit = block_rank<kBlocks>() * kUnits;
  const int first_row = block_index() / kBlocks * f.rows_each;
  const int rows = f.rows - first_row < f.rows_each ? f.rows - first_row : f.rows_each;
  const int H = f.hidden;
  const bool clips = f.clip <= 0x1.fffffep127f;
  const auto vector = [&](int i, int gate, int row) {
    return shared + ((i % 2 * 3 + gate) * f.rows_each + row) * Width;
  };
  const auto slot = [&](int i, int row) {
    return shared + layout.ring + (i % kSlots * f.rows_each + row) * kRow;
  };
  const auto at = [&](int i, int row) {  // where the i-th step from the end stands
    const int t = f.reverse ? i : f.time - 1 - i;
    return t * f.time_stride + (first_row + row) * f.row_stride;
  };
  const auto state_at = [&](int row) { return static_cast<long long>(first_row + row) * H; };
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
        const long long step = at(i, row) * H + unit;
        const auto copy = [&](int array, const float* from) {
          copy_later(slot(i, row) + array * kUnits + j, from);
        };
        for (int gate = 0; gate < (After ? 4 : 3); ++gate) copy(gate, f.gates[gate] + step);
        copy(kBefore, i + 1 < f.time ? f.hs + at(i + 1, row) * H + unit
                                     : f.h0 + state_at(row) + unit);
        if (clips) copy(kState, f.hs + step);
        copy(kGradient, f.dhs + step);
      });
      for (int row = thread_index(); f.flags && row < rows; row += kThreads) {
        copy_later(reinterpret_cast<int*>(slot(i, row) + kSavedArrays * kUnits),
                   f.flags + at(i, row));
      }
    }
    end_group();
  };

  Tile<Width> tile;
  tile.load(f.U, first_unit, H, 1, H);
  for (int i = thread_index(); i < layout.sums; i += kThreads) shared[i] = 0.0f;
  each([&](int row, int j, int unit) {
    const int own = row * kUnits + j;
    carry[own] = reset_sums[own] = 0.0f;
    if (f.flags) resets[own] = f.h_reset[state_at(row) + unit];
    for (int gate = 0; gate < 3; ++gate) sums[(row * 3 + gate) * kUnits + j] = 0.0f;
  });
  for (int i = 0; i < kAhead; ++i) fetch(i);
  sync_cluster<kBlocks>();

  const auto multiply = [&](bool mine, int i) {
    if (mine) {
#pragma unroll 1
      for (int row = 0; row < rows; ++row) {
        tile.multiply(vector(i, tile.gate, row), sums + row * 3 * kUnits);
      }
    }
    sync_block();
  };
  const auto arrived = [&](int row, int j) {  // by the step after
    const float* s = sums + row * 3 * kUnits + j;
    const float by_gates = After ? s[0] + s[kUnits] + s[2 * kUnits] : s[0] + s[kUnits];
    return carry[row * kUnits + j] + by_gates;
  };
  const auto put = [&](int gate, int i, int row, int unit, float value) {
    f.da[gate][at(i, row) * H + unit] = value;
  };
  const auto send = [&](int gate, int i, int row, int unit, float value) {
    store_in_all<kBlocks>(vector(i, gate, row) + unit, value);
  };

#pragma unroll 1
  for (int i = 0; i < f.time; ++i) {
    fetch(i + kAhead);
    wait_for_copies<kAhead>();
    if (f.flags) sync_block();  // other threads have copied them
    each([&](int row, int j, int unit) {
      const float* saved = slot(i, row) + j;
      const int own = row * kUnits + j;
      const int flags = f.flags ? bits(slot(i, row)[kSavedArrays * kUnits]) : kValid;
      float l = arrived(row, j);
      if (flags & kResetNext) {
        reset_sums[own] += l;
        l = 0.0f;
      }
      l += saved[kGradient * kUnits];
      const float z = saved[kZ * kUnits], c = saved[kC * kUnits];
      const float h = flags & kReset ? resets[own] : saved[kBefore * kUnits];
      float d = 0.0f;
      if (flags & kValid) {
        const float state = clips ? saved[kState * kUnits] : 0.0f;
        d = state > -f.clip && state < f.clip ? l : 0.0f;
        l = d * (1.0f - z);
      }
      carry[own] = l;
      const float da_c = d * z * (1.0f - c * c), da_z = d * (c - h) * z * (1.0f - z);
      put(1, i, row, unit, da_z);
      put(2, i, row, unit, da_c);
      send(1, i, row, unit, da_z);
      if (After) {
        const float r = saved[kR * kUnits], q = saved[kQ * kUnits];
        const float da_r = da_c * q * r * (1.0f - r), dq = da_c * r;
        put(0, i, row, unit, da_r);
        put(3, i, row, unit, dq);
        send(0, i, row, unit, da_r);
        send(2, i, row, unit, dq);
      } else {
        send(2, i, row, unit, da_c);
      }
    });
    sync_cluster<kBlocks>();
    if (!After) {
      multiply(tile.gate == 2, i);
      each([&](int row, int j, int unit) {
        const float* saved = slot(i, row) + j;
        const int own = row * kUnits + j;
        const bool reset = f.flags && bits(slot(i, row)[kSavedArrays * kUnits]) & kReset;
        const float h = reset ? resets[own] : saved[kBefore * kUnits], r = saved[kR * kUnits];
        const float d_rh = sums[row * 3 * kUnits + 2 * kUnits + j];
        const float da_r = d_rh * h * r * (1.0f - r);
        carry[own] = fmaf(d_rh, r, carry[own]);
        put(0, i, row, unit, da_r);
        send(0, i, row, unit, da_r);
      });
      sync_cluster<kBlocks>();
    }
    multiply(After || tile.gate < 2, i);
  }
  each([&](int row, int j, int unit) {
    f.dh0[state_at(row) + unit] = arrived(row, j);
    if (f.flags) f.dh_reset[state_at(row) + unit] = reset_sums[row * kUnits + j];
  });
}

}  // namespace gru::gpu
