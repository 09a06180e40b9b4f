// The kernel's argument, and how work is split among blocks. Used by the kernel and by its launch.
//
// Compiled by NVRTC, which has no standard headers, and by a C++ compiler.

#pragma once

namespace gru::gpu {

// A block of threads holds 3 x units columns of the weights in its registers. A thread holds
// 4 x chunks weights of each of `columns` columns. `slices` lanes share a column; 4 warps share a
// gate. A cluster of `blocks` blocks holds all columns of states up to `width`.
struct Shape {
  int slices, chunks, columns;

  constexpr int width() const { return 4 * slices * chunks; }
  constexpr int units() const { return 4 * 32 / slices * columns; }
  constexpr int blocks() const { return width() / units(); }
};

constexpr Shape kShapes[] = {{8, 2, 4}, {8, 4, 8}, {16, 4, 8}, {32, 4, 8}};  // 64 to 512 units
constexpr int kThreads = 12 * 32;
constexpr int kAhead = 3;  // steps whose inputs are being fetched

// Returns the shape with this width; its `slices` are 0 if there is none.
constexpr Shape shape_of(int width) {
  for (const Shape& shape : kShapes) {
    if (shape.width() == width) return shape;
  }
  return {0, 0, 0};
}

enum Flag {
  kValid = 1,      // no padding
  kResetNext = 2,  // the next step reads h_reset
  kReset = 4,      // this step does
};

// Step (t, b) is at index t * time_stride + b * row_stride. Gates are in the order r, z, c.
struct Problem {
  int time, rows, hidden;
  int rows_each;  // rows of a cluster
  int row_pitch;  // floats from row to row, 0 with one row; 3 rows_each row_pitch fits an int
  long long time_stride, row_stride;
  bool reverse;
  float clip;  // the bound of each state, infinite for none
  const float* U[3];  // [hidden][hidden], in the forward pass transposed
  const float* h0;  // [rows][hidden], the state that the first step reads
  const int* flags;  // [steps], Flags; null without padding and resets
  const float* h_reset;  // [rows][hidden], null without resets
};

struct Forward : Problem {
  const float* drive;  // [steps][3][hidden], x W of each gate
  const float* b[4];  // [hidden], of r, z, c and, with reset="after", q
  float* hs;  // [steps][hidden], carried through padding
  float* gates[4];  // r, z, c, q: [steps][hidden], null if they are not kept
};

struct Backward : Problem {
  const float* hs;
  const float* gates[4];
  const float* dhs;
  float* da[4];  // of r, z, c and q: [steps][hidden]; may be the gates' own memory
  float* dh0;  // [rows][hidden]
  float* dh_reset;  // [rows][hidden], null without resets: the gradient of h_reset, except
  // from the first step, which reads h0
};

// A block's shared memory, as offsets in floats, all multiples of 4; [rows] are a cluster's.
struct Layout {
  int vectors;  // the operands of the products, for all units
  int sums;  // [rows][3][units], the products
  int bias;  // [4][units]
  int resets;  // [2][rows][units]: h_reset, and the sum of its gradients
  int carry;  // [rows][units]: the gradient that bypasses the gates
  int ring;  // [kAhead + 1][rows][arrays][units]: what a step reads from global memory
  int flags;  // [kAhead + 1][rows]
  int total;
};

constexpr int kDriveArrays = 3;  // of a step in the ring: the drive
constexpr int kSavedArrays = 7;  // r, z, c, q, the state before, the state after, its gradient

constexpr Layout layout_of(const Shape& s, bool backward, int rows) {
  // Forward: the state twice, for this step and the next, and r h. Backward: three gates, twice.
  const int vectors = backward ? 6 : 3, arrays = backward ? kSavedArrays : kDriveArrays;
  Layout l{};
  l.sums = vectors * rows * s.width();
  l.bias = l.sums + 3 * rows * s.units();
  l.resets = l.bias + 4 * s.units();
  l.carry = l.resets + 2 * rows * s.units();
  l.ring = l.carry + rows * s.units();
  l.flags = l.ring + (kAhead + 1) * rows * arrays * s.units();
  l.total = l.flags + (kAhead + 1) * rows;
  return l;
}

}  // namespace gru::gpu
