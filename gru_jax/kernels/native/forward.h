// The states of some rows, from the first step to the last.
//
//   drive = x W_x + b      for a chunk of steps at once, in the cache
//   h     = mix(drive, h)  step by step

#pragma once

#include "kernel.h"
#include "product.h"

namespace gru::GRU_LEVEL {

// Packed: for each gate and panel the rows that act on x, then those that act on h; then biases.
static int64_t forward_packed(const Problem& p) {
  return (3 * (p.input + p.hidden) + 4) * padded(p.hidden);
}

static void pack_forward(const Forward& f, int64_t part, int64_t parts, float* packed) {
  const int64_t H = f.hidden, joint = f.input + H, count = panels(H);
  for (int64_t i = part; i < 3 * count; i += parts) {
    const int64_t gate = i / count, j = i % count * kPanel;
    pack(f.W[gate] + j, H, 1, joint, H - j, packed + i * joint * kPanel);
  }
  float* biases = packed + 3 * joint * padded(H);
  for (int gate = 0; gate < 4 && part == 0; ++gate) {
    const float* b = gate < 3 ? f.b[gate] : f.b_h;
    memset(biases + gate * padded(H), 0, 4 * padded(H));
    if (b) memcpy(biases + gate * padded(H), b, 4 * H);
  }
}

// Steps whose inputs are multiplied at once: enough rows for a fast product, and in the cache.
static int64_t chunk(const Problem& p, int64_t rows) {
  int64_t steps = (191 + rows) / rows, fit = (1 << 16) / (3 * padded(p.hidden) * rows);
  if (steps > fit) steps = fit;
  if (steps > p.time) steps = p.time;
  return steps < 1 ? 1 : steps;
}

static int64_t forward_scratch(const Problem& p, int64_t rows) {
  return (3 * chunk(p, rows) + 3) * rows * padded(p.hidden);
}

static void forward(const Forward& f, const float* packed, int64_t from, int64_t to,
                    float* scratch) {
  const int64_t H = f.hidden, I = f.input, rows = to - from, width = padded(H), count = panels(H);
  const int64_t joint = I + H, steps = chunk(f, rows), of_row = 3 * width;
  const float* biases = packed + 3 * joint * width;
  float* h = scratch;
  float* h_next = h + rows * width;
  float* side = h_next + rows * width;  // q, or r * h
  float* drives = side + rows * width;  // [steps][rows][3][width]
  const auto weights = [&](int64_t gate, int64_t panel) {
    return packed + (gate * count + panel) * joint * kPanel;
  };

  memset(scratch, 0, 4 * 3 * rows * width);
  for (int64_t i = 0; i < rows; ++i) memcpy(h + i * width, f.h0 + (from + i) * H, 4 * H);

  for (int64_t start = 0; start < f.time; start += steps) {
    const int64_t n = f.time - start < steps ? f.time - start : steps;

    // Row by row of the product over batch or time, whichever is longer.
    const auto project = [&](int64_t index, int64_t stride, int64_t m, float* out, int64_t apart) {
      const Left x{{f.xs + index * I}, 1, I, stride * I};
      multiply(x, m, 3 * count, [&](int64_t j) {
        const int64_t gate = j % 3, at = j / 3 * kPanel;
        return Right{weights(gate, j / 3), biases + gate * width + at,   0, out + gate * width + at,
                     apart,                kPanel};
      });
    };
    if (rows >= n) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t t = f.reverse ? f.time - 1 - start - i : start + i;
        project(f.at(t, from), f.row_stride, rows, drives + i * rows * of_row, of_row);
      }
    } else {
      const int64_t t = f.reverse ? f.time - start - n : start;
      const int64_t first = f.reverse ? n - 1 : 0, apart = f.reverse ? -1 : 1;
      for (int64_t i = 0; i < rows; ++i) {
        project(f.at(t, from + i), f.time_stride, n, drives + (first * rows + i) * of_row,
                apart * rows * of_row);
      }
    }

    for (int64_t i = 0; i < n; ++i) {
      const int64_t t = f.reverse ? f.time - 1 - start - i : start + i;
      float* drive = drives + i * rows * of_row;
      if (f.resets) {
        for (int64_t b = 0; b < rows; ++b) {
          if (!f.resets[f.at(t, from + b)]) continue;
          memcpy(h + b * width, f.h_reset + (from + b) * H, 4 * H);
        }
      }
      const auto state_panel = [&](int64_t gate, int64_t panel) {
        float* c = drive + gate * width + panel * kPanel;
        return Right{weights(gate, panel) + I * kPanel, c, of_row, c, of_row, kPanel};
      };
      // What is done with each vector of each row: `each(b, j, at)`, `at` in the row.
      const auto sweep = [&](const auto& each) {
        for (int64_t b = 0; b < rows; ++b) {
          const int64_t step = f.at(t, from + b) * H;
          for (int64_t j = 0; j < H; j += kLanes) each(b, j, b * width + j, step + j);
        }
      };
      const auto keep = [&](int gate, int64_t j, int64_t step, V value) {
        if (f.gates[gate]) store(f.gates[gate] + step, value, H - j);
      };
      const Left state{{h}, 1, H, width};
      if (f.after) {
        multiply(state, rows, 3 * count, [&](int64_t j) {
          const int64_t gate = j % 3, at = j / 3 * kPanel;
          if (gate < 2) return state_panel(gate, j / 3);
          return Right{weights(2, j / 3) + I * kPanel, biases + 3 * width + at, 0, side + at, width,
                       kPanel};
        });
      } else {
        multiply(state, rows, 2 * count, [&](int64_t j) { return state_panel(j % 2, j / 2); });
        sweep([&](int64_t b, int64_t j, int64_t at, int64_t step) {
          const V r = sigmoid(load(drive + b * of_row + j));
          store(side + at, r * load(h + at));
          keep(0, j, step, r);
        });
        multiply(Left{{side}, 1, H, width}, rows, count,
                 [&](int64_t j) { return state_panel(2, j); });
      }
      sweep([&](int64_t b, int64_t j, int64_t at, int64_t step) {
        const float* a = drive + b * of_row + j;
        const V z = sigmoid(load(a + width)), old = load(h + at);
        V a_c = load(a + 2 * width);
        if (f.after) {
          const V r = sigmoid(load(a)), q = load(side + at);
          a_c += r * q;
          keep(0, j, step, r);
          keep(3, j, step, q);
        }
        const V c = tanh(a_c);
        const bool valid = !f.valid || f.valid[f.at(t, from + b)];
        const V next = valid ? (1.0f - z) * old + z * c : old;
        keep(1, j, step, z);
        keep(2, j, step, c);
        store(h_next + at, next);
        store(f.hs + step, next, H - j);
      });
      float* swapped = h;
      h = h_next;
      h_next = swapped;
    }
  }
}

}  // namespace gru::GRU_LEVEL
