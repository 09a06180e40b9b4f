// Products with packed weights, C = init + A W, a tile of C in registers at a time.
//
// Weights are packed into panels of kPanel columns, each of them contiguous: [row][kPanel], with
// zeros behind the last column. Every element of C is summed in the order of the rows of W, one
// after the other, whatever the tile: so the result does not depend on how rows of A are split.

#pragma once

#include <utility>

#include "simd.h"

namespace gru::GRU_LEVEL {

constexpr int64_t panels(int64_t columns) { return (columns + kPanel - 1) / kPanel; }
constexpr int64_t padded(int64_t columns) { return panels(columns) * kPanel; }

// The left side: up to three matrices side by side. Element [row][k] of one stands at
// at[row * stride + k], or if ACROSS at at[k * stride + row].
struct Left {
  struct Matrix {
    const float* at;
    int64_t depth;
    int64_t stride;
  } matrix[3];
  int count;
};

// Asks for all of it at once, if other threads have just written some of it.
GRU_INLINE void fetch(const Left& left, int64_t rows, bool shared) {
  for (int64_t i = 0; shared && i < rows * left.count; ++i) {
    const auto& [at, depth, stride] = left.matrix[i % left.count];
    const float* row = at + i / left.count * stride;
    for (int64_t j = 0; j < depth; j += kLanes) __builtin_prefetch(row + j);
  }
}

// One panel of the right side, [count * depth][kPanel], and where its part of C goes.
struct Right {
  const float* panel;
  const float* init;  // [rows][columns], null for zeros
  int64_t init_stride;
  float* out;
  int64_t out_stride;
  int64_t columns;  // kPanel, or fewer: the others are neither read nor written
};

// `acc` stays in registers if all loops around it are unrolled. Where the left side lies ACROSS,
// `init` is large and not in the cache: it is fetched while the product is summed, and added last.
#if defined(__clang__)
#define GRU_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GRU_UNROLL _Pragma("GCC unroll 16")
#endif

template <int ROWS, int PANELS, bool ACROSS>
static void tile(const Left& left, int64_t row, const Right* right) {
  V acc[ROWS][2 * PANELS];
  const auto init = [&](int i, int j, int v) {
    return right[j].init + (row + i) * right[j].init_stride + v * kLanes;
  };
  GRU_UNROLL for (int i = 0; i < ROWS; ++i) {
    GRU_UNROLL for (int j = 0; j < PANELS; ++j) {
      GRU_UNROLL for (int v = 0; v < 2; ++v) {
        acc[i][2 * j + v] = V{};
        if (!right[j].init) continue;
        if (ACROSS) {
          __builtin_prefetch(init(i, j, v));
        } else {
          acc[i][2 * j + v] = load(init(i, j, v), right[j].columns - v * kLanes);
        }
      }
    }
  }
  const float* panel[PANELS];
  GRU_UNROLL for (int j = 0; j < PANELS; ++j) panel[j] = right[j].panel;
  for (int s = 0; s < left.count; ++s) {
    const int64_t stride = left.matrix[s].stride, depth = left.matrix[s].depth;
    // Three rows share a pointer: x86 adds one or two strides to it for nothing.
    const float* a[(ROWS + 2) / 3];
    GRU_UNROLL for (int i = 0; i < ROWS; i += 3) {
      a[i / 3] = left.matrix[s].at + (ACROSS ? row + i : (row + i) * stride);
    }
    for (int64_t k = 0; k < depth; ++k) {
      V b[2 * PANELS];
      GRU_UNROLL for (int j = 0; j < PANELS; ++j) {
        b[2 * j] = load(panel[j]);
        b[2 * j + 1] = load(panel[j] + kLanes);
        panel[j] += kPanel;
      }
      GRU_UNROLL for (int i = 0; i < ROWS; ++i) {
        const float x = a[i / 3][ACROSS ? i % 3 : (i % 3) * stride];
        GRU_UNROLL for (int j = 0; j < 2 * PANELS; ++j) acc[i][j] += x * b[j];
      }
      GRU_UNROLL for (int i = 0; i < ROWS; i += 3) a[i / 3] += ACROSS ? stride : 1;
    }
  }
  GRU_UNROLL for (int i = 0; i < ROWS; ++i) {
    GRU_UNROLL for (int j = 0; j < PANELS; ++j) {
      GRU_UNROLL for (int v = 0; v < 2; ++v) {
        if (ACROSS && right[j].init) {
          acc[i][2 * j + v] += load(init(i, j, v), right[j].columns - v * kLanes);
        }
        store(right[j].out + (row + i) * right[j].out_stride + v * kLanes, acc[i][2 * j + v],
              right[j].columns - v * kLanes);
      }
    }
  }
}

using Tile = void (*)(const Left&, int64_t, const Right*);

template <int PANELS, bool ACROSS, typename Rows>
struct Tiles;

template <int PANELS, bool ACROSS, int... ROWS>
struct Tiles<PANELS, ACROSS, std::integer_sequence<int, ROWS...>> {
  static constexpr Tile of[] = {tile<ROWS + 1, PANELS, ACROSS>...};
};

// kTiles<PANELS, ACROSS>[rows - 1]
template <int PANELS, bool ACROSS>
constexpr const Tile* kTiles =
    Tiles<PANELS, ACROSS, std::make_integer_sequence<int, kRows / PANELS>>::of;

// C = init + A W for `count` panels, of which `right(j)` is the j-th. A few rows do not fill the
// registers with one panel, so they take up to three at once; two and two where one would be left.
template <bool ACROSS = false, typename PanelAt>
static inline void multiply(const Left& left, int64_t rows, int64_t count, const PanelAt& right) {
  const bool three = rows <= kRows / 3 && count != 4;
  const int64_t together = three ? 3 : rows <= kRows / 2 ? 2 : 1;
  const int64_t most = kRows / together, parts = (rows + most - 1) / most;
  Right now[3];
  for (int64_t j = 0; j < count; j += together) {
    const int64_t width = count - j < together ? count - j : together;
    for (int64_t i = 0; i < width; ++i) now[i] = right(j + i);
    for (int64_t part = 0, row = 0; part < parts; ++part) {
      const int64_t next = rows * (part + 1) / parts, n = next - row - 1;
      (width == 3   ? kTiles<3, ACROSS>[n]
       : width == 2 ? kTiles<2, ACROSS>[n]
                    : kTiles<1, ACROSS>[n])(left, row, now);
      row = next;
    }
  }
}

// Packs a panel, out[i][j] = W[i * row_stride + j * column_stride], one of the strides being 1.
static void pack(const float* W, int64_t row_stride, int64_t column_stride, int64_t rows,
                 int64_t columns, float* out) {
  if (columns > kPanel) columns = kPanel;
  if (column_stride == 1 && columns == kPanel) {
    for (int64_t i = 0; i < rows; ++i) memcpy(out + i * kPanel, W + i * row_stride, 4 * kPanel);
  } else if (column_stride == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      memcpy(out + i * kPanel, W + i * row_stride, 4 * columns);
      memset(out + i * kPanel + columns, 0, 4 * (kPanel - columns));
    }
  } else {
    for (int64_t j = 0; j < kPanel; ++j) {
      for (int64_t i = 0; i < rows; ++i) {
        out[i * kPanel + j] = j < columns ? W[i * row_stride + j * column_stride] : 0.0f;
      }
    }
  }
}

}  // namespace gru::GRU_LEVEL
