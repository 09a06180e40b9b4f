"""The recurrence in native code: what builds it, loads it, and calls it through XLA's FFI."""
