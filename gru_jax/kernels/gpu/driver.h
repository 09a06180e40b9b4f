// Loads NVIDIA's driver on first use, loads compiled images, and launches kernels.

#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "problem.h"

namespace gru::gpu {

// An error of the driver, as a phrase.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Compiled code: an image for one architecture, its kernel's name, and a unique number.
struct Image {
  const void* bytes;
  std::string name;
  int64_t key;
};

// A kernel's work, and how it is split.
struct Work {
  int64_t rows;
  Shape shape;
  bool backward;

  int64_t shared_bytes(int64_t rows_each) const {
    return sizeof(float) * layout_of(shape, backward, static_cast<int>(rows_each)).total;
  }
};

// Launches the kernel on a stream, in the stream's context. `argument(rows)` returns the kernel's
// argument, a structure. The rows of a cluster are as many as let all clusters end at about the same
// time and fit into shared memory; it may make them fewer.
void launch(void* stream, const Image& image, const Work& work,
            const std::function<void*(int64_t& rows_each)>& argument);

// Throws unless the device with this number can run the image.
void check(int device, const Image& image, const Work& work);

// The version of CUDA that the driver supports, as 1000 major + 10 minor.
int driver_version();

// Names the library to load instead of libcuda. Must be called first.
void use_driver(const char* path);

}  // namespace gru::gpu
