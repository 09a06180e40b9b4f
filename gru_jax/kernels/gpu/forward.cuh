// Runs some rows through all steps, in one cluster of blocks.
//
// Each step multiplies the whole old state, computes the gates of the block's units, and stores
// their new states in every block. With reset="before", the blocks exchange r h in between.

#pragma once

#include "gates.cuh"
#include "share.cuh"
#include "tile.cuh"

namespace gru::gpu {

template <int Width, bool After>
GRU_INLINE void forward(const Forward& f) {
  using Mine = Share<Width, false>;
  constexpr int kUnits = Mine::kUnits, kBlocks = Mine::kBlocks;
  const Mine mine(f);
  const int H = f.hidden;
  // Vectors 0 and 1 are the states that even and odd steps read, 2 is r h.
  const auto fetch = [&](int i) {
    const float* from = f.drive + mine.state(mine.time_of(i)) * 3;
    mine.fetch(i, [&](int row, int gate, int unit, const auto& bring) {
      bring(from + (row * 3 * f.row_pitch + gate * H + unit));
    });
  };

  Tile<Width> tile;
  tile.load(f.U, mine.first_unit, H);
  for (int i = thread_index(); i < mine.layout.sums; i += kThreads) mine.shared[i] = 0.0f;
  sync_block();
  for (int row = 0; row < mine.rows; ++row) {
    for (int k = thread_index(); k < H; k += kThreads) {
      mine.vector(0, row)[k] = f.h0[mine.of_row(row) + k];
    }
  }
  mine.each([&](int row, int j, int unit) {
    for (int gate = 0; row == 0 && gate < (After ? 4 : 3); ++gate) {
      mine.bias(gate, j) = f.b[gate][unit];
    }
    if (f.h_reset) mine.reset(row, j) = f.h_reset[mine.of_row(row) + unit];
  });
  for (int i = 0; i < kAhead; ++i) fetch(i);
  sync_cluster<kBlocks>();

  const auto multiply = [&](bool part, int which) {
    if (part) {
#pragma unroll 1
      for (int row = 0; row < mine.rows; ++row) {
        tile.multiply(mine.vector(which, row), mine.sums(row));
      }
    }
    sync_block();
  };
  const auto pre = [&](int i, int row, int j, int gate) {
    const int at = gate * kUnits + j;
    return mine.sums(row)[at] + mine.ring(i, row)[at] + mine.bias(gate, j);
  };

#pragma unroll 1
  for (int i = 0; i < f.time; ++i) {
    const long long state = mine.state(mine.time_of(i));
    fetch(i + kAhead);
    wait_for_copies<kAhead>();
    if (!After) {
      multiply(tile.gate < 2, i % 2);
      mine.each([&](int row, int j, int unit) {
        const float r = sigmoid(pre(i, row, j, 0));
        if (f.gates[0]) f.gates[0][state + (row * f.row_pitch + unit)] = r;
        store_in_all<kBlocks>(mine.vector(2, row) + unit, r * mine.vector(i % 2, row)[unit]);
      });
      sync_cluster<kBlocks>();
    }
    multiply(After || tile.gate == 2, After ? i % 2 : 2);
    mine.each([&](int row, int j, int unit) {
      const long long at = state + (row * f.row_pitch + unit);
      const float old = mine.vector(i % 2, row)[unit], z = sigmoid(pre(i, row, j, 1));
      float r = 0.0f, q = 0.0f, a = 0.0f;
      if (After) {
        r = sigmoid(pre(i, row, j, 0));
        q = mine.sums(row)[2 * kUnits + j] + mine.bias(3, j);
        a = fmaf(r, q, mine.ring(i, row)[2 * kUnits + j] + mine.bias(2, j));
      } else {
        a = pre(i, row, j, 2);
      }
      const float c = hyperbolic_tangent(a);
      const int flags = mine.flags_of(i, row);
      const float mixed = clipped(fmaf(z, c, (1.0f - z) * old), f.clip);
      const float next = flags & kValid ? mixed : old;
      store_in_all<kBlocks>(mine.vector((i + 1) % 2, row) + unit,
                            flags & kResetNext ? mine.reset(row, j) : next);
      f.hs[at] = next;
      if (f.gates[1]) {
        f.gates[1][at] = z;
        f.gates[2][at] = c;
        if (After) f.gates[0][at] = r, f.gates[3][at] = q;
      }
    });
    sync_cluster<kBlocks>();
  }
}

}  // namespace gru::gpu
