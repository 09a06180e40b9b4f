// The types and constants of the driver that driver.cc uses, as in NVIDIA's cuda.h.

#pragma once

namespace gru::gpu {

using Status = int;
using Handle = void*;

struct alignas(8) Attribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    unsigned cluster[3];
  } value;
};

struct Config {
  unsigned grid[3], block[3], shared;
  Handle stream;
  Attribute* attributes;
  unsigned count;
};

constexpr int kClusterDimension = 4;                      // of a launch
constexpr int kMaxShared = 8, kAnyCluster = 14;           // of a function
constexpr int kProcessors = 16, kMaxSharedOfABlock = 97;  // of a device

}  // namespace gru::gpu
