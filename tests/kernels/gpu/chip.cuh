// Replaces the kernel's chip.cuh on a CPU. Each thread of a cluster is a fiber: see threads.h.

#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "problem.h"
#include "threads.h"

#define GRU_INLINE inline

namespace gru::gpu {

inline int thread_index() { return current().thread; }
inline int block_index() { return current().block; }
inline float* shared_memory() { return current().cluster->shared(current().rank); }

template <int Blocks>
int block_rank() {
  return current().rank;
}

inline int bits(float x) {
  int y;
  memcpy(&y, &x, sizeof y);
  return y;
}

inline float from_bits(int x) {
  float y;
  memcpy(&y, &x, sizeof y);
  return y;
}

// Off by up to one ulp, as on a GPU.
inline float rough_reciprocal(float x) {
  const float y = 1.0f / x;
  if (!(y >= std::numeric_limits<float>::min())) return y < 1.0f ? 0.0f : y;
  return from_bits(bits(y) + bits(x) % 3 - 1);
}

struct alignas(16) Four {
  float a, b, c, d;
};

inline Four load_four(const float* p) {
  if (reinterpret_cast<uintptr_t>(p) % 16) fail("a load of 16 bytes is not aligned");
  return *reinterpret_cast<const Four*>(p);
}

inline float exchange(float x, int mask) { return current().exchange(x, mask); }
inline void sync_block() { current().wait_for(current().cluster->of_block(current().rank)); }

template <int Blocks>
void sync_cluster() {
  current().wait_for(current().cluster->whole());
}

template <int Blocks>
void store_in_all(float* p, float x) {
  Cluster& cluster = *current().cluster;
  const auto offset = p - shared_memory();
  for (int rank = 0; rank < Blocks; ++rank) cluster.shared(rank)[offset] = x;
}

template <int Bytes>
void copy_later(void* to, const void* from) {
  current().copy_later(to, from, Bytes);
}

inline void end_group() { current().end_group(); }

template <int N>
void wait_for_copies() {
  current().wait_for_copies(N);
}

}  // namespace gru::gpu
