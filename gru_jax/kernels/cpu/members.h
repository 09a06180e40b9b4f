// Several problems of one shape, each with weights of its own: their arrays follow one another.

#pragma once

#include "kernel.h"

namespace gru {

template <typename T, size_t N>
void move_all(T* (&arrays)[N], int64_t count) {
  for (T*& array : arrays) {
    if (array) array += count;
  }
}

inline void move_inputs(Problem& p, int64_t i) {
  const int64_t steps = p.time * p.rows, H = p.hidden;
  p.members = 1;
  p.xs += i * steps * p.input;
  move_all(p.W, i * (p.input + H) * H);
  p.h0 += i * p.rows * H;
  if (p.valid) p.valid += i * steps;
  if (p.resets) p.resets += i * steps, p.h_reset += i * p.rows * H;
}

// The i-th member.
inline Forward member(Forward f, int64_t i) {
  const int64_t states = f.time * f.rows * f.hidden;
  move_inputs(f, i);
  move_all(f.b, i * f.hidden);
  if (f.b_h) f.b_h += i * f.hidden;
  f.hs += i * states;
  move_all(f.gates, i * states);
  return f;
}

inline Backward member(Backward f, int64_t i) {
  const int64_t steps = f.time * f.rows, H = f.hidden;
  move_inputs(f, i);
  f.hs += i * steps * H;
  move_all(f.gates, i * steps * H);
  f.dhs += i * steps * H;
  move_all(f.da, i * steps * H);
  f.dh0 += i * f.rows * H;
  if (f.dh_reset) f.dh_reset += i * f.rows * H;
  if (f.dxs) f.dxs += i * steps * f.input;
  move_all(f.dW, i * (f.input + H) * H);
  move_all(f.db, i * H);
  return f;
}

}  // namespace gru
