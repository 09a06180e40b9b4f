// All of the kernel for one instruction set; compiled once for each, GRU_LEVEL its name.

#include "forward.h"
#include "kernel.h"
#include "weights.h"

namespace gru::GRU_LEVEL {

static bool runs_here() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

#define GRU_TEXT_(x) #x
#define GRU_TEXT(x) GRU_TEXT_(x)

extern const Level level;
const Level level = {
    GRU_TEXT(GRU_LEVEL),
    runs_here,
    panels,
    {forward_packed, pack_forward, forward_own, forward_common, forward_stages, forward},
    {backward_packed, pack_backward, backward_own, backward_common, backward_stages, backward},
    inputs,
    weights_scratch,
    weights,
};

}  // namespace gru::GRU_LEVEL
