"""The recurrence in native code: what builds it, loads it, and calls it through XLA's FFI.

    native       the C++, and CMakeLists.txt, which builds it
    library      loads it, once it is asked for
    operands     what goes in and comes out, in its order
    twin         the same functions in JAX, for all that it does not do
    primitives   what JAX sees: forward, its tangent, and that one's transpose, backward
    rules        their derivatives and their batching
    lowering     which programs get the native code; partition, on a mesh
    recurrence   the states of sequences of any batch axes

Nothing outside calls more of it than `recurrence` and `library.reason`.
"""
