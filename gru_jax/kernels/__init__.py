"""Compiled operators: a GRU over a sequence in native code, called through XLA's FFI.

    operator     the states of sequences with any batch axes; the only entry point
    operands     the operands and results, in order
    primitives   JAX's view: forward, its tangent, and the tangent's transpose, backward
    rules        the primitives' derivatives and batching
    lowering     which programs get the compiled code; partition runs it on a mesh
    twin         the same functions in JAX, as the fallback
    report       logs which code runs, or raises
    cpu          the C++, and the library that loads it
    gpu          the CUDA C++ for NVIDIA's GPUs, and NVRTC, which compiles it

Only `sequence.backends` imports this package, on the kernel's first use: it needs JAX's internals.
"""
