"""The kernel for NVIDIA's GPUs: only the recurrence is in CUDA C++; the products with x are XLA's.

    gru.cu, *.cuh  the kernel: weights in registers, states in shared memory
    compiler       compiles it with NVRTC for one GPU's architecture, when a program is lowered
    calls          both passes in JAX around the kernel
    library        whether it can run here
    ffi.cc         the handlers that XLA calls; driver.cc launches the compiled code

The kernel has not run on a GPU yet. `tests/kernels/gpu` runs the same sources on a CPU.
"""
