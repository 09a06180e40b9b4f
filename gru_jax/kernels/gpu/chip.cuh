// The CUDA and PTX that the kernel uses. tests/kernels/gpu/chip.cuh has the same for a CPU.
//
// Compiled by NVRTC, with --device-as-default-execution-space.

#pragma once

#include "problem.h"

#define GRU_INLINE __forceinline__
#define GRU_KERNEL extern "C" __global__ void __launch_bounds__(gru::gpu::kThreads, 1)

namespace gru::gpu {

GRU_INLINE int thread_index() { return threadIdx.x; }
GRU_INLINE int block_index() { return blockIdx.x; }

GRU_INLINE float* shared_memory() {
  extern __shared__ float4 memory[];
  return reinterpret_cast<float*>(memory);
}

GRU_INLINE int bits(float x) { return __float_as_int(x); }
GRU_INLINE float from_bits(int x) { return __int_as_float(x); }

// 1 / x within one ulp; 0 if the result is not a normal number.
GRU_INLINE float rough_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct alignas(16) Four {
  float a, b, c, d;
};
GRU_INLINE Four load_four(const float* p) { return *reinterpret_cast<const Four*>(p); }

// The value of the lane whose index differs by `mask`.
GRU_INLINE float exchange(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

GRU_INLINE void sync_block() { __syncthreads(); }

GRU_INLINE unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

template <int Blocks>
GRU_INLINE int block_rank() {
  unsigned rank = 0;
  if constexpr (Blocks > 1) asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// Waits for all threads of the cluster. Their writes are visible after it.
template <int Blocks>
GRU_INLINE void sync_cluster() {
  static_assert(Blocks == 1 || __CUDA_ARCH__ >= 900, "older chips have no clusters");
  if constexpr (Blocks == 1) {
    __syncthreads();
  } else {
    __syncwarp();  // `.aligned` needs a converged warp
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
}

// Stores x at p's offset in the shared memory of every block.
template <int Blocks>
GRU_INLINE void store_in_all(float* p, float x) {
  if constexpr (Blocks == 1) {
    *p = x;
  } else {
#pragma unroll
    for (int rank = 0; rank < Blocks; ++rank) {
      unsigned there;
      asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                   : "=r"(there)
                   : "r"(shared_address(p)), "r"(rank));
      asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(x) : "memory");
    }
  }
}

// Starts to copy 4 or 16 bytes into shared memory.
template <int Bytes>
GRU_INLINE void copy_later(void* to, const void* from) {
  if constexpr (Bytes == 16) {  // past the L1 cache: nothing is read twice
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(to)), "l"(from),
                 "n"(Bytes)
                 : "memory");
  }
}
GRU_INLINE void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for this thread's copies, except the last N groups.
template <int N>
GRU_INLINE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace gru::gpu
