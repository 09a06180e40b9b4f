// The states of some rows, from the first step to the last.
//
//   drive = x W_x + b      for a chunk of steps at once, in the cache, or with the step
//   h     = mix(drive, h)  step by step
//
// Both are stages, and a step with reset="before" is two, so that each column of a stage needs
// nothing of the others.

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

// Whether x and h are multiplied in one product, to the same bits: with rows enough for a fast one
// and all weights in the cache. There is one chunk then, and no drive is kept longer than its step.
static bool at_once(const Problem& p, int64_t rows) {
  return rows >= kRows / 2 && forward_packed(p) <= 1 << 17;
}

// Steps whose inputs are multiplied at once: enough rows for a fast product, and in the cache.
static int64_t chunk(const Problem& p, int64_t rows) {
  if (at_once(p, rows)) return p.time;
  int64_t steps = (191 + rows) / rows, fit = (1 << 16) / (3 * padded(p.hidden) * rows);
  if (steps > fit) steps = fit;
  if (steps > p.time) steps = p.time;
  return steps < 1 ? 1 : steps;
}

// Whether rows of inputs are whole pages apart, and so compete for the same few places in the
// cache. If they are long, too, they are copied, and an odd number of lines lies from one to the
// next; for rows one after the other that gains nothing.
static bool crowded(const Problem& p) {
  return p.row_stride * p.input % 1024 == 0 && p.row_stride > 1 && p.input >= 256;
}

constexpr int64_t staggered(int64_t columns) { return (columns / 32 * 2 + 3) * 16; }

static int64_t forward_own(const Problem& p, int64_t rows, int64_t panels) {
  const int64_t drives = at_once(p, rows) ? 1 : chunk(p, rows);
  return (3 * drives + 1) * rows * panels * kPanel + (crowded(p) ? rows * staggered(p.input) : 0);
}

static int64_t forward_common(const Problem& p, int64_t rows) {
  return 3 * rows * padded(p.hidden);
}

GRU_INLINE int64_t stages_of_chunk(const Problem& p, int64_t steps) {
  return 1 + steps * (p.after ? 1 : 2);
}

static int64_t forward_stages(const Problem& p, int64_t rows) {
  const int64_t steps = chunk(p, rows), rest = p.time % steps;
  return p.time / steps * stages_of_chunk(p, steps) + (rest ? stages_of_chunk(p, rest) : 0);
}

static void forward(const Forward& f, const float* packed, const Share& share, int64_t stage,
                    float* own, float* common) {
  const int64_t H = f.hidden, I = f.input, from = share.rows.from, rows = share.rows.size();
  const int64_t count = share.panels.size(), first = share.panels.from * kPanel;
  const int64_t width = padded(H), span = count * kPanel, of_row = 3 * span;
  const int64_t last = share.panels.to * kPanel < H ? share.panels.to * kPanel : H;
  const bool together = at_once(f, rows);
  const int64_t steps = chunk(f, rows), of_chunk = stages_of_chunk(f, steps);
  const int64_t start = stage / of_chunk * steps, place = stage % of_chunk - 1;
  const auto weights = [&](int64_t gate, int64_t panel) {
    return packed + (gate * panels(H) + panel) * (I + H) * kPanel;
  };
  const float* biases = packed + 3 * (I + H) * width;
  float* drives = own;  // [steps][rows][3][span]
  float* qs = drives + (together ? 1 : steps) * rows * of_row;  // [rows][span]
  float* copied = qs + rows * span;  // [rows][staggered(I)]
  float* rhs = common;  // [rows][width], as the states
  const auto state = [&](int64_t i) { return common + (1 + i % 2) * rows * width; };
  const auto time_of = [&](int64_t i) { return f.reverse ? f.time - 1 - i : i; };
  // What is done with each vector of each row: `each(b, j, at, gates)`, `at` in what is
  // [rows][width], `gates` where its drives are.
  const auto sweep = [&](const auto& each) {
    for (int64_t b = 0; b < rows; ++b) {
      for (int64_t j = first; j < last; j += kLanes) {
        each(b, j, b * width + j, b * of_row + j - first);
      }
    }
  };
  // The inputs of step t; where they are copied, that is done the first time.
  const auto inputs = [&](int64_t time, bool copy) {
    const float* x = f.xs + f.at(time, from) * I;
    if (!crowded(f)) return Left::Matrix{x, I, f.row_stride * I};
    for (int64_t b = 0; copy && b < rows; ++b) {
      memcpy(copied + b * staggered(I), x + b * f.row_stride * I, 4 * I);
    }
    return Left::Matrix{copied, I, staggered(I)};
  };
  // Whether h_reset, not the state before it, is what step i of row b reads.
  const auto is_reset = [&](int64_t i, int64_t b) {
    return f.resets && i < f.time && f.resets[f.at(time_of(i), from + b)];
  };

  if (place < 0) {
    const int64_t n = f.time - start < steps ? f.time - start : steps;
    if (start == 0) {
      sweep([&](int64_t b, int64_t j, int64_t at, int64_t) {
        const float* before = (is_reset(0, b) ? f.h_reset : f.h0) + (from + b) * H;
        store(state(0) + at, load(before + j, H - j));
      });
    }
    if (together) return;
    // Row by row of the product over batch or time, whichever is longer.
    const auto project = [&](const Left::Matrix& x, int64_t m, float* out, int64_t apart) {
      multiply(Left{{x}, 1}, m, 3 * count, [&](int64_t j) {
        const int64_t gate = j % 3, at = j / 3 * kPanel;
        return Right{weights(gate, share.panels.from + j / 3),
                     biases + gate * width + first + at,
                     0,
                     out + gate * span + at,
                     apart,
                     kPanel};
      });
    };
    if (rows >= n) {
      for (int64_t i = 0; i < n; ++i) {
        project(inputs(time_of(start + i), true), rows, drives + i * rows * of_row, of_row);
      }
    } else {
      const int64_t t = f.reverse ? f.time - start - n : start;
      const int64_t earliest = f.reverse ? n - 1 : 0, apart = f.reverse ? -1 : 1;
      for (int64_t i = 0; i < rows; ++i) {
        const Left::Matrix x{f.xs + f.at(t, from + i) * I, I, f.time_stride * I};
        project(x, n, drives + (earliest * rows + i) * of_row, apart * rows * of_row);
      }
    }
    return;
  }

  const int64_t i = start + (f.after ? place : place / 2), t = time_of(i);
  float* drive = drives + (together ? 0 : i - start) * rows * of_row;
  const float* h = state(i);
  const auto keep = [&](int gate, int64_t b, int64_t j, V value) {
    if (f.gates[gate]) store(f.gates[gate] + f.at(t, from + b) * H + j, value, H - j);
  };
  const auto gate_panel = [&](int64_t gate, int64_t j) {
    const float* panel = weights(gate, share.panels.from + j);
    float* a = drive + gate * span + j * kPanel;
    if (!together) return Right{panel + I * kPanel, a, of_row, a, of_row, kPanel};
    return Right{panel, biases + gate * width + first + j * kPanel, 0, a, of_row, kPanel};
  };
  const auto q_panel = [&](int64_t j) {
    const float* bias = biases + 3 * width + first + j * kPanel;
    return Right{
        weights(2, share.panels.from + j) + I * kPanel, bias, 0, qs + j * kPanel, span, kPanel};
  };
  const bool reads_rh = !f.after && place % 2 == 1;
  const Left::Matrix x = inputs(t, together && !reads_rh);
  const Left::Matrix recurrent{reads_rh ? rhs : h, H, width};
  const Left left = together ? Left{{x, recurrent}, 2} : Left{{recurrent}, 1};
  fetch(left, rows, span < width);
  if (f.after && together) {
    multiply(left, rows, 2 * count, [&](int64_t j) { return gate_panel(j % 2, j / 2); });
    multiply(Left{{x}, 1}, rows, count, [&](int64_t j) { return gate_panel(2, j); });
    multiply(Left{{recurrent}, 1}, rows, count, q_panel);
  } else if (f.after) {
    multiply(left, rows, 3 * count,
             [&](int64_t j) { return j % 3 < 2 ? gate_panel(j % 3, j / 3) : q_panel(j / 3); });
  } else if (reads_rh) {
    multiply(left, rows, count, [&](int64_t j) { return gate_panel(2, j); });
  } else {
    multiply(left, rows, 2 * count, [&](int64_t j) { return gate_panel(j % 2, j / 2); });
    sweep([&](int64_t b, int64_t j, int64_t at, int64_t gates) {
      const V r = sigmoid(load(drive + gates));
      store(rhs + at, r * load(h + at));
      keep(0, b, j, r);
    });
    return;
  }
  float* h_next = state(i + 1);
  const bool clips = f.clip < __builtin_inff();
  sweep([&](int64_t b, int64_t j, int64_t at, int64_t gates) {
    const float* a = drive + gates;
    const V z = sigmoid(load(a + span)), old = load(h + at);
    V a_c = load(a + 2 * span);
    if (f.after) {
      const V r = sigmoid(load(a)), q = load(qs + b * span + j - first);
      a_c += r * q;
      keep(0, b, j, r);
      keep(3, b, j, q);
    }
    const V c = tanh(a_c);
    const bool valid = !f.valid || f.valid[f.at(t, from + b)];
    V next = valid ? (1.0f - z) * old + z * c : old;
    if (clips && valid) next = clipped(next, f.clip);
    keep(1, b, j, z);
    keep(2, b, j, c);
    store(f.hs + f.at(t, from + b) * H + j, next, H - j);
    store(h_next + at, is_reset(i + 1, b) ? load(f.h_reset + (from + b) * H + j, H - j) : next);
  });
}

}  // namespace gru::GRU_LEVEL
