"""Fixtures of the tests of Flax modules."""

from fast_compiles import compile_fast as compile_fast
