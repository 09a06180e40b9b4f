"""The kernel for NVIDIA GPUs: the recurrence in CUDA C++, the input products in XLA.

    gru.cu, *.cuh  the kernel: weights in registers, states in shared memory
    compiler       compiles it with NVRTC for one GPU's architecture, when a program is lowered
    calls          the JAX code around the kernel, for both passes
    library        whether it can run here
    ffi.cc         the handlers that XLA calls; driver.cc launches the compiled code

The kernel has not run on a GPU yet. `tests/kernels/gpu` runs the same sources on a CPU.
"""
