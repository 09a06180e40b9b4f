// What the kernel is given, and what each instruction set brings.

#pragma once

#include <cstdint>

namespace gru {

// One sequence problem, or several of one shape with weights of their own, the members. `steps`
// arrays are [time][rows] or [rows][time]: step (t, b) stands at index t * time_stride + b *
// row_stride. Gates are in the order r, z, c. The shapes below are one member's.
struct Problem {
  int64_t members, time, rows, input, hidden;
  int64_t time_stride, row_stride;
  bool reverse;
  bool after;
  float clip;            // the bound of each state, infinite for none
  const float* xs;       // [steps][input]
  const float* W[3];     // [input + hidden][hidden]
  const float* h0;       // [rows][hidden]
  const uint8_t* valid;  // [steps], or null: all are
  const uint8_t* resets;  // [steps], or null: none
  const float* h_reset;  // [rows][hidden], with resets

  int64_t at(int64_t t, int64_t b) const { return t * time_stride + b * row_stride; }
};

struct Forward : Problem {
  const float* b[3];  // [hidden]
  const float* b_h;   // [hidden], null in the reset="before" form
  float* hs;          // [steps][hidden], carried through padding
  float* gates[4];    // r, z, c, q: [steps][hidden], null if they are not kept
};

struct Backward : Problem {
  const float* hs;
  const float* gates[4];
  const float* dhs;
  float* da[4];     // of r, z, c and q: [steps][hidden]; may be the gates' own memory
  float* dh0;       // [rows][hidden]
  float* dh_reset;  // [rows][hidden], null without resets
  float* dxs;       // [steps][input], null if it is not wanted
  float* dW[3];     // [input + hidden][hidden], null if they are not wanted
  float* db[4];     // of r, z, c and q: [hidden]
};

struct Range {
  int64_t from, to;

  int64_t size() const { return to - from; }
};

// The i-th of `parts` of `count` things, all of them as large as can be.
constexpr Range part_of(int64_t count, int64_t i, int64_t parts) {
  return {count * i / parts, count * (i + 1) / parts};
}

// Steps of some rows.
struct Steps {
  Range time, rows;
};

// What one task does of a stage: some rows, and of these some panels of columns.
struct Share {
  Range rows, panels;
};

// A recurrence through all steps. Work is cut into tasks that may run on any thread, in any order;
// stages follow one another. No task allocates memory.
template <typename P>
struct Recurrence {
  // Floats of the packed weights, and how to pack one part of `parts`.
  int64_t (*packed)(const Problem&);
  void (*pack)(const P&, int64_t part, int64_t parts, float* packed);

  // Floats that a share has for itself, and that the shares of the same rows have in common; how
  // many stages, and one of them.
  int64_t (*own)(const Problem&, int64_t rows, int64_t panels);
  int64_t (*common)(const Problem&, int64_t rows);
  int64_t (*stages)(const Problem&, int64_t rows);
  void (*stage)(const P&, const float* packed, const Share&, int64_t stage, float* own,
                float* common);
};

// One instruction set's code.
struct Level {
  const char* name;
  bool (*runs_here)();
  int64_t (*panels)(int64_t columns);
  Recurrence<Forward> forward;
  Recurrence<Backward> backward;

  // After the second: the gradient of some steps of xs; of the weights and biases, one part of
  // `parts` of what some steps bring.
  void (*inputs)(const Backward&, const float* packed, const Steps&);
  int64_t (*weights_scratch)(const Problem&);
  void (*weights)(const Backward&, const Steps&, int64_t part, int64_t parts, float* scratch);
};

}  // namespace gru
