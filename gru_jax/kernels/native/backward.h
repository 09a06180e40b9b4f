// The gradient of some rows, from the last step to the first; l is dL/dh_t, all that arrives there.
//
//   da_c = l z (1 - c^2)         da_z = l (c - h) z (1 - z)
//   reset="before":  d(rh) = da_c U_c^T    da_r = d(rh) h r (1 - r)
//                    l_{t-1} += l (1 - z) + d(rh) r + [da_r, da_z] [U_r, U_z]^T
//   reset="after":   dq = da_c r           da_r = da_c q r (1 - r)
//                    l_{t-1} += l (1 - z) + [dq, da_r, da_z] [U_c, U_r, U_z]^T
//
// and afterwards, for many steps at once, dx = [da_r, da_z, da_c] [W_r, W_z, W_c]_x^T.

#pragma once

#include "kernel.h"
#include "product.h"

namespace gru::GRU_LEVEL {

// Packed, transposed: for each panel of the state U_c, U_r, U_z, for each of the input W_r, W_z,
// W_c.
static int64_t backward_packed(const Problem& p) {
  return 3 * p.hidden * (padded(p.hidden) + padded(p.input));
}

static void pack_backward(const Backward& f, int64_t part, int64_t parts, float* packed) {
  const int64_t H = f.hidden, I = f.input, of_state = 3 * panels(H);
  const int64_t count = of_state + (f.dxs ? 3 * panels(I) : 0);
  for (int64_t i = part; i < count; i += parts) {
    const bool state = i < of_state;
    const int64_t place = (state ? i : i - of_state) % 3, gate = state ? (place + 2) % 3 : place;
    const int64_t j = (state ? i : i - of_state) / 3 * kPanel;
    pack(f.W[gate] + (state ? I + j : j) * H, 1, H, H, (state ? H : I) - j,
         packed + i * H * kPanel);
  }
}

static int64_t backward_scratch(const Problem& p, int64_t rows) {
  return 6 * rows * padded(p.hidden);
}

// The state that the step (t, b) has read.
GRU_INLINE const float* state_before(const Backward& f, int64_t t, int64_t b) {
  if (f.resets && f.resets[f.at(t, b)]) return f.h_reset + b * f.hidden;
  const int64_t earlier = f.reverse ? t + 1 : t - 1;
  if (earlier < 0 || earlier == f.time) return f.h0 + b * f.hidden;
  return f.hs + f.at(earlier, b) * f.hidden;
}

static void backward(const Backward& f, const float* packed, int64_t from, int64_t to,
                     float* scratch) {
  const int64_t H = f.hidden, rows = to - from, width = padded(H), count = panels(H);
  const int64_t of_row = 4 * width;
  float* l = scratch;
  float* d_rh = l + rows * width;
  float* da = d_rh + rows * width;  // [rows][4][width]: of q, r, z, c

  memset(scratch, 0, 4 * 6 * rows * width);
  if (f.dh_reset) memset(f.dh_reset + from * H, 0, 4 * rows * H);
  for (int64_t i = 0; i < f.time; ++i) {
    const int64_t t = f.reverse ? i : f.time - 1 - i;
    const int64_t ahead = i + 1 < f.time ? (f.reverse ? 1 : -1) * f.time_stride * H : 0;
    for (int64_t b = 0; b < rows; ++b) {
      const int64_t step = f.at(t, from + b) * H;
      const float* before = state_before(f, t, from + b);
      const bool valid = !f.valid || f.valid[f.at(t, from + b)];
      for (int64_t j = 0; j < H; j += kLanes) {
        const int64_t at = b * width + j, n = H - j;
        const auto put = [&](int gate, V value) {
          store(f.da[gate] + step + j, value, n);
          store(da + b * of_row + (gate + 1) % 4 * width + j, value);
        };
        for (int gate = 0; gate < (f.after ? 4 : 3); ++gate) {
          __builtin_prefetch(f.gates[gate] + step + ahead + j);
          __builtin_prefetch(f.da[gate] + step + ahead + j, 1);
        }
        __builtin_prefetch(f.dhs + step + ahead + j);
        const V z = load(f.gates[1] + step + j, n), c = load(f.gates[2] + step + j, n);
        const V arrived = load(l + at) + load(f.dhs + step + j, n);
        const V d = valid ? arrived : V{};
        const V da_c = d * z * (1.0f - c * c);
        store(l + at, valid ? arrived * (1.0f - z) : arrived);
        if (f.after) {
          const V r = load(f.gates[0] + step + j, n), q = load(f.gates[3] + step + j, n);
          put(0, da_c * q * r * (1.0f - r));
          put(3, da_c * r);
        }
        put(1, d * (c - load(before + j, n)) * z * (1.0f - z));
        put(2, da_c);
      }
    }
    const auto panel = [&](int64_t j, int64_t place, const float* init, float* out) {
      return Right{packed + (3 * j + place) * H * kPanel, init, width, out + j * kPanel, width,
                   kPanel};
    };
    if (f.after) {
      multiply(Left{{da, da + width, da + 2 * width}, 3, H, of_row}, rows, count,
               [&](int64_t j) { return panel(j, 0, l + j * kPanel, l); });
    } else {
      multiply(Left{{da + 3 * width}, 1, H, of_row}, rows, count,
               [&](int64_t j) { return panel(j, 0, nullptr, d_rh); });
      for (int64_t b = 0; b < rows; ++b) {
        const int64_t step = f.at(t, from + b) * H;
        const float* before = state_before(f, t, from + b);
        for (int64_t j = 0; j < H; j += kLanes) {
          const V r = load(f.gates[0] + step + j, H - j), d = load(d_rh + b * width + j);
          const V da_r = d * load(before + j, H - j) * r * (1.0f - r);
          store(f.da[0] + step + j, da_r, H - j);
          store(da + b * of_row + width + j, da_r);
          store(l + b * width + j, load(l + b * width + j) + d * r);
        }
      }
      multiply(Left{{da + width, da + 2 * width}, 2, H, of_row}, rows, count,
               [&](int64_t j) { return panel(j, 1, l + j * kPanel, l); });
    }
    for (int64_t b = 0; f.resets && b < rows; ++b) {
      if (!f.resets[f.at(t, from + b)]) continue;
      float* reset = f.dh_reset + (from + b) * H;
      for (int64_t j = 0; j < H; ++j) reset[j] += l[b * width + j];
      memset(l + b * width, 0, 4 * width);
    }
  }
  for (int64_t b = 0; b < rows; ++b) memcpy(f.dh0 + (from + b) * H, l + b * width, 4 * H);
}

static void inputs(const Backward& f, const float* packed, int64_t from, int64_t to) {
  const int64_t H = f.hidden, I = f.input, most = 4 * kRows;  // which stay in the cache
  const float* weights = packed + 3 * H * padded(H);
  for (int64_t start = from; start < to; start += most) {
    const int64_t n = to - start < most ? to - start : most;
    const Left da{{f.da[0] + start * H, f.da[1] + start * H, f.da[2] + start * H}, 3, H, H};
    multiply(da, n, panels(I), [&](int64_t j) {
      const int64_t left = I - j * kPanel;
      return Right{weights + 3 * j * H * kPanel,   nullptr, 0, f.dxs + start * I + j * kPanel, I,
                   left < kPanel ? left : kPanel};
    });
  }
}

}  // namespace gru::GRU_LEVEL
