// The gradient of some rows, from the last step to the first; l is dL/dh_t, all that arrives there.
//
//   da_c = l z (1 - c^2)         da_z = l (c - h) z (1 - z)
//   reset="before":  d(rh) = da_c U_c^T    da_r = d(rh) h r (1 - r)
//                    l_{t-1} += l (1 - z) + d(rh) r + [da_r, da_z] [U_r, U_z]^T
//   reset="after":   dq = da_c r           da_r = da_c q r (1 - r)
//                    l_{t-1} += l (1 - z) + [dq, da_r, da_z] [U_c, U_r, U_z]^T
//
// and afterwards, for many steps at once, dx = [da_r, da_z, da_c] [W_r, W_z, W_c]_x^T. Where h_t
// was clipped, l is zero.

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

static int64_t backward_own(const Problem&, int64_t rows, int64_t panels) {
  return 2 * rows * panels * kPanel;
}

static int64_t backward_common(const Problem& p, int64_t rows) {
  return 8 * rows * padded(p.hidden);
}

// A stage for each step and one behind the last; with reset="before" a step is two.
static int64_t backward_stages(const Problem& p, int64_t) { return p.time * (p.after ? 1 : 2) + 1; }

// The state that the step (t, b) has read.
GRU_INLINE const float* state_before(const Backward& f, int64_t t, int64_t b) {
  if (f.resets && f.resets[f.at(t, b)]) return f.h_reset + b * f.hidden;
  const int64_t earlier = f.reverse ? t + 1 : t - 1;
  if (earlier < 0 || earlier == f.time) return f.h0 + b * f.hidden;
  return f.hs + f.at(earlier, b) * f.hidden;
}

static void backward(const Backward& f, const float* packed, const Share& share, int64_t stage,
                     float* own, float* common) {
  const int64_t H = f.hidden, from = share.rows.from, rows = share.rows.size();
  const int64_t count = share.panels.size(), first = share.panels.from * kPanel;
  const int64_t width = padded(H), span = count * kPanel, of_row = 4 * width;
  const int64_t last = share.panels.to * kPanel < H ? share.panels.to * kPanel : H;
  const int64_t i = f.after ? stage : stage / 2;  // steps from the end
  const auto time_of = [&](int64_t step) { return f.reverse ? step : f.time - 1 - step; };
  const int64_t t = time_of(i);
  float* l = own;  // [rows][span]
  float* d_rh = l + rows * span;
  float* da = common + i % 2 * rows * of_row;  // [rows][4][width]: of q, r, z, c
  float* da_later = common + (i + 1) % 2 * rows * of_row;  // the step after this one
  const auto product = [&](const Left& left, int64_t place, const float* init, float* out) {
    fetch(left, rows, span < width);
    multiply(left, rows, count, [&](int64_t j) {
      const int64_t at = j * kPanel;
      return Right{packed + (3 * (share.panels.from + j) + place) * H * kPanel,
                   init ? init + at : nullptr,
                   span,
                   out + at,
                   span,
                   kPanel};
    });
  };

  if (!f.after && stage % 2 == 1) {
    product(Left{{{da + 3 * width, H, of_row}}, 1}, 0, nullptr, d_rh);
    for (int64_t b = 0; b < rows; ++b) {
      const int64_t step = f.at(t, from + b) * H;
      const float* before = state_before(f, t, from + b);
      for (int64_t j = first; j < last; j += kLanes) {
        const V r = load(f.gates[0] + step + j, H - j), d = load(d_rh + b * span + j - first);
        const V da_r = d * load(before + j, H - j) * r * (1.0f - r);
        store(f.da[0] + step + j, da_r, H - j);
        store(da + b * of_row + width + j, da_r);
        store(l + b * span + j - first, load(l + b * span + j - first) + d * r);
      }
    }
    return;
  }

  if (i == 0) {
    for (int64_t b = 0; b < rows; ++b) {
      for (int64_t j = first; j < last; j += kLanes) {
        store(l + b * span + j - first, V{});
        if (f.dh_reset) store(f.dh_reset + (from + b) * H + j, V{}, H - j);
      }
    }
  } else {
    const auto of = [&](int gate) { return Left::Matrix{da_later + gate * width, H, of_row}; };
    product(f.after ? Left{{of(0), of(1), of(2)}, 3} : Left{{of(1), of(2)}, 2}, f.after ? 0 : 1, l,
            l);
    for (int64_t b = 0; f.resets && b < rows; ++b) {
      if (!f.resets[f.at(time_of(i - 1), from + b)]) continue;
      for (int64_t j = first; j < last; j += kLanes) {
        float* reset = f.dh_reset + (from + b) * H + j;
        store(reset, load(reset, H - j) + load(l + b * span + j - first), H - j);
        store(l + b * span + j - first, V{});
      }
    }
  }
  if (i == f.time) {
    for (int64_t b = 0; b < rows; ++b) {
      for (int64_t j = first; j < last; j += kLanes) {
        store(f.dh0 + (from + b) * H + j, load(l + b * span + j - first), H - j);
      }
    }
    return;
  }

  const bool clips = f.clip < __builtin_inff();
  const int64_t ahead = i + 1 < f.time ? (f.reverse ? 1 : -1) * f.time_stride * H : 0;
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t step = f.at(t, from + b) * H;
    const float* before = state_before(f, t, from + b);
    const bool valid = !f.valid || f.valid[f.at(t, from + b)];
    for (int64_t j = first; j < last; j += kLanes) {
      const int64_t at = b * span + j - first, n = H - j;
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
      V arrived = load(l + at) + load(f.dhs + step + j, n);
      if (clips && valid) arrived = unless_clipped(arrived, load(f.hs + step + j, n), f.clip);
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
}

static void inputs(const Backward& f, const float* packed, const Steps& steps) {
  const int64_t H = f.hidden, I = f.input, most = 4 * kRows;  // which stay in the cache
  const float* weights = packed + 3 * H * padded(H);
  const auto run = [&](int64_t start, int64_t end) {  // of steps that lie one after the other
    for (; start < end; start += most) {
      const auto of = [&](int gate) { return Left::Matrix{f.da[gate] + start * H, H, H}; };
      const Left left{{of(0), of(1), of(2)}, 3};
      multiply(left, end - start < most ? end - start : most, panels(I), [&](int64_t j) {
        const int64_t width = I - j * kPanel < kPanel ? I - j * kPanel : kPanel;
        return Right{weights + 3 * j * H * kPanel,   nullptr, 0,
                     f.dxs + start * I + j * kPanel, I,       width};
      });
    }
  };
  const bool time_major = f.row_stride == 1;
  const Range outer = time_major ? steps.time : steps.rows;
  const Range inner = time_major ? steps.rows : steps.time;
  const int64_t length = time_major ? f.rows : f.time;
  if (inner.size() == length) return run(outer.from * length, outer.to * length);
  for (int64_t i = outer.from; i < outer.to; ++i)
    run(i * length + inner.from, i * length + inner.to);
}

}  // namespace gru::GRU_LEVEL
