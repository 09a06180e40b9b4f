"""Compiled operators: a GRU over a sequence in native code, called through XLA's FFI.

    operator     the states of sequences of any batch axes: all that others call
    operands     what goes in and comes out, in its order
    primitives   what JAX sees: forward, its tangent, and that one's transpose, backward
    rules        their derivatives and their batching
    lowering     which programs get the compiled code; partition, on a mesh
    twin         the same functions in JAX, for all that it does not do
    report       tells which code runs, or raises
    cpu          the C++, and the library that loads it

`sequence.backends` alone imports it, when the kernel is first asked for: it needs JAX's internals.
"""
