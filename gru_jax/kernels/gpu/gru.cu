// One kernel for each pass, form and width. compiler.py chooses it by GRU_ENTRY (its name),
// GRU_PASS, GRU_PROBLEM, GRU_WIDTH and GRU_AFTER.

#include "backward.cuh"
#include "forward.cuh"

GRU_KERNEL GRU_ENTRY(const gru::gpu::GRU_PROBLEM problem) {
  gru::gpu::GRU_PASS<GRU_WIDTH, GRU_AFTER>(problem);
}
