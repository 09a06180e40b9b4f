// The gradients of some rows, from the last step that ran to the first, by one cluster of blocks.
//
// l is the gradient of a state. Each step computes the gradients of the block's gates, stores them
// in every block, and multiplies all of them with the block's rows of the weights. Each sum is
// whole in one block, so no order of arrival matters. The equations are those of cpu/backward.h.
// With reset="before", the product of da_c comes first and gives da_r.

#pragma once

#include "gates.cuh"
#include "share.cuh"
#include "tile.cuh"

namespace gru::gpu {

template <int Width, bool After>
GRU_INLINE void backward(const Backward& f) {
  using Mine = Share<Width, true>;
  constexpr int kUnits = Mine::kUnits, kBlocks = Mine::kBlocks;
  enum Saved { kR, kZ, kC, kQ, kBefore, kState, kGradient };
  const Mine mine(f);
  const int H = f.hidden;
  const bool clips = f.clip <= 0x1.fffffep127f;
  // Vectors 0 to 2 hold the gradients of r, z, and c (or q) in even steps, 3 to 5 in odd ones.
  const auto fetch = [&](int i) {
    const long long state = mine.state(mine.time_of(i));
    const bool last = i + 1 >= f.time;
    const long long before = last ? 0 : mine.state(mine.time_of(i + 1));
    mine.fetch(i, [&](int row, int array, int unit, const auto& bring) {
      const int at = row * f.row_pitch + unit;
      if (array == kBefore) {
        bring(last ? f.h0 + mine.of_row(row) + unit : f.hs + before + at);
      } else if ((array != kQ || After) && (array != kState || clips)) {
        const float* of = array == kState ? f.hs : array == kGradient ? f.dhs : f.gates[array];
        bring(of + state + at);
      }
    });
  };

  Tile<Width> tile;
  tile.load(f.U, mine.first_unit, H);
  for (int i = thread_index(); i < mine.layout.sums; i += kThreads) mine.shared[i] = 0.0f;
  mine.each([&](int row, int j, int unit) {
    mine.carry(row, j) = mine.reset_sum(row, j) = 0.0f;
    if (f.h_reset) mine.reset(row, j) = f.h_reset[mine.of_row(row) + unit];
    for (int gate = 0; gate < 3; ++gate) mine.sums(row)[gate * kUnits + j] = 0.0f;
  });
  for (int i = 0; i < kAhead; ++i) fetch(i);
  wait_for_copies<kAhead - 1>();
  sync_cluster<kBlocks>();

  const auto multiply = [&](bool part, int i) {
    if (part) {
#pragma unroll 1
      for (int row = 0; row < mine.rows; ++row) {
        tile.multiply(mine.vector(i % 2 * 3 + tile.gate, row), mine.sums(row));
      }
    }
  };
  const auto arrived = [&](int row, int j) {  // the gradient from the next step
    const float* s = mine.sums(row) + j;
    const float of_gates = s[0] + s[kUnits];
    return mine.carry(row, j) + (After ? of_gates + s[2 * kUnits] : of_gates);
  };

#pragma unroll 1
  for (int i = 0; i < f.time; ++i) {
    const long long state = mine.state(mine.time_of(i));
    const auto send = [&](int gate, int row, int unit, float value) {
      store_in_all<kBlocks>(mine.vector(i % 2 * 3 + gate, row) + unit, value);
    };
    const auto before = [&](int row, int j) {
      return mine.flags_of(i, row) & kReset ? mine.reset(row, j)
                                            : mine.ring(i, row)[kBefore * kUnits + j];
    };
    fetch(i + kAhead);
    mine.each([&](int row, int j, int unit) {
      const long long at = state + (row * f.row_pitch + unit);
      const float* saved = mine.ring(i, row) + j;
      const int flags = mine.flags_of(i, row);
      float l = arrived(row, j);
      if (flags & kResetNext) {
        mine.reset_sum(row, j) += l;
        l = 0.0f;
      }
      l += saved[kGradient * kUnits];
      const float z = saved[kZ * kUnits], c = saved[kC * kUnits];
      float d = 0.0f;
      if (flags & kValid) {
        const float after = clips ? saved[kState * kUnits] : 0.0f;
        d = after > -f.clip && after < f.clip ? l : 0.0f;
        l = d * (1.0f - z);
      }
      mine.carry(row, j) = l;
      const float da_c = d * z * (1.0f - c * c), da_z = d * (c - before(row, j)) * z * (1.0f - z);
      send(1, row, unit, da_z);
      f.da[1][at] = da_z;
      f.da[2][at] = da_c;
      if (After) {
        const float r = saved[kR * kUnits], q = saved[kQ * kUnits];
        const float da_r = da_c * q * r * (1.0f - r), dq = da_c * r;
        send(0, row, unit, da_r);
        send(2, row, unit, dq);
        f.da[0][at] = da_r;
        f.da[3][at] = dq;
      } else {
        send(2, row, unit, da_c);
      }
    });
    sync_cluster<kBlocks>();
    if (!After) {
      multiply(tile.gate == 2, i);
      sync_block();
      mine.each([&](int row, int j, int unit) {
        const float r = mine.ring(i, row)[kR * kUnits + j];
        const float d_rh = mine.sums(row)[2 * kUnits + j];
        const float da_r = d_rh * before(row, j) * r * (1.0f - r);
        send(0, row, unit, da_r);
        f.da[0][state + (row * f.row_pitch + unit)] = da_r;
        mine.carry(row, j) = fmaf(d_rh, r, mine.carry(row, j));
      });
      sync_cluster<kBlocks>();
    }
    multiply(After || tile.gate < 2, i);
    wait_for_copies<kAhead - 1>();  // for the next step
    sync_block();
  }
  mine.each([&](int row, int j, int unit) {
    f.dh0[mine.of_row(row) + unit] = arrived(row, j);
    if (f.dh_reset) f.dh_reset[mine.of_row(row) + unit] = mine.reset_sum(row, j);
  });
}

}  // namespace gru::gpu
