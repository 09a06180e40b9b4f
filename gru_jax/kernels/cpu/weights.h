// The gradient of the weights: one product over all steps for each gate.
//
//   dW_r, dW_z = [X, H_before]^T [da_r, da_z]
//   dW_c = [X, r * H_before]^T da_c           (reset="before")
//   dW_c = [X^T da_c; H_before^T dq]          (reset="after")
//
// Steps are taken kBlock at a time: both sides are packed, and added to what there is.

#pragma once

#include "backward.h"

namespace gru::GRU_LEVEL {

constexpr int64_t kBlock = 384;

constexpr int64_t tiles(int64_t rows) { return (rows + kRows - 1) / kRows; }

// X, H_before and r * H_before in tiles, [kBlock][kRows] each; then a panel of each da.
static int64_t weights_scratch(const Problem& p) {
  return ((tiles(p.input) + 2 * tiles(p.hidden)) * kRows + 4 * kPanel) * kBlock;
}

static void weights(const Backward& f, const Steps& steps, int64_t part, int64_t parts,
                    float* scratch) {
  const int64_t H = f.hidden, I = f.input, of_x = tiles(I), of_h = tiles(H);
  const bool time_major = f.row_stride == 1;
  const int64_t N = steps.time.size() * steps.rows.size();
  const int64_t inner = time_major ? steps.rows.size() : steps.time.size();
  // Parts are stripes of columns; of rows where columns do not share out evenly.
  const bool by_columns = panels(H) % parts == 0;
  const Range columns = by_columns ? part_of(panels(H), part, parts) : Range{0, panels(H)};
  const Range rows = by_columns ? Range{0, of_x + of_h} : part_of(of_x + of_h, part, parts);
  float* panels_of_da = scratch + (of_x + 2 * of_h) * kRows * kBlock;

  for (int64_t start = 0; start < N; start += kBlock) {
    const int64_t n = N - start < kBlock ? N - start : kBlock;
    const auto packed = [&](int64_t tile) { return scratch + tile * kRows * kBlock; };
    // Copies the tile's columns of step k, `count` of them, into row k.
    const auto put = [&](int64_t tile, int64_t k, const float* a, const float* r, int64_t count) {
      float* out = packed(tile) + k * kRows;
      const auto copy = [&](int64_t most) {
        for (int64_t i = 0; i < most; ++i) out[i] = r ? r[i] * a[i] : a[i];
      };
      count == kRows ? copy(kRows) : copy(count);  // The first is unrolled.
    };
    int64_t at[kBlock];  // Where each step stands.
    for (int64_t k = 0; k < n; ++k) {
      const int64_t slow = (start + k) / inner, fast = (start + k) % inner;
      const int64_t t = steps.time.from + (time_major ? slow : fast);
      const int64_t b = steps.rows.from + (time_major ? fast : slow);
      at[k] = f.at(t, b);
      const float* x = f.xs + at[k] * I;
      const float* h = state_before(f, t, b);
      for (int64_t tile = rows.from; tile < rows.to; ++tile) {
        const int64_t j = (tile < of_x ? tile : tile - of_x) * kRows;
        const int64_t left = (tile < of_x ? I : H) - j, count = left < kRows ? left : kRows;
        put(tile, k, (tile < of_x ? x : h) + j, nullptr, count);
        if (!f.after && tile >= of_x) {
          put(tile + of_h, k, h + j, f.gates[0] + at[k] * H + j, count);
        }
      }
    }
    for (int64_t panel = columns.from; panel < columns.to; ++panel) {
      const int64_t j = panel * kPanel, width = H - j < kPanel ? H - j : kPanel;
      for (int gate = 0; gate < (f.after ? 4 : 3); ++gate) {
        float* out = panels_of_da + gate * kBlock * kPanel;
        for (int64_t k = 0; k < n; ++k) {
          const float* da = f.da[gate] + at[k] * H + j;
          const V low = load(da, width), high = load(da + kLanes, width - kLanes);
          store(out + k * kPanel, low);
          store(out + k * kPanel + kLanes, high);
        }
        if (rows.from > 0 || rows.size() == 0) continue;  // Another part has the biases.
        V low = {}, high = {};
        for (int64_t k = 0; k < n; ++k) {
          low += load(out + k * kPanel);
          high += load(out + k * kPanel + kLanes);
        }
        float* db = f.db[gate] + j;
        if (start) low += load(db, width), high += load(db + kLanes, width - kLanes);
        store(db, low, width);
        store(db + kLanes, high, width - kLanes);
      }
      for (int64_t tile = rows.from; tile < rows.to; ++tile) {
        const bool x = tile < of_x;
        const int64_t row = (x ? tile : tile - of_x) * kRows, left = (x ? I : H) - row;
        const int64_t height = left < kRows ? left : kRows;
        const auto add = [&](int64_t from_tile, int64_t from_gate, int64_t count, bool q) {
          multiply<true>(Left{{{packed(from_tile), n, kRows}}, 1}, height, count, [&](int64_t i) {
            const int64_t gate = from_gate + i;
            float* out = f.dW[gate] + ((x ? 0 : I) + row) * H + j;
            return Right{panels_of_da + (q && gate == 2 ? 3 : gate) * kBlock * kPanel,
                         start ? out : nullptr,
                         H,
                         out,
                         H,
                         width};
          });
        };
        if (x || f.after) {
          add(tile, 0, 3, !x);
        } else {
          add(tile, 0, 2, false);
          add(tile + of_h, 2, 1, false);
        }
      }
    }
  }
}

}  // namespace gru::GRU_LEVEL
