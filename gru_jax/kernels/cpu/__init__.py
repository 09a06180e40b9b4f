"""The compiled operator for CPUs: C++ sources, and the library that loads them."""
