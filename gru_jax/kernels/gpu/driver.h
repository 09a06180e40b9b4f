// Loads NVIDIA's driver on first use, loads compiled images, and launches kernels.

#pragma once

#include <cstdint>
#include <memory>
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

// A kernel that is about to run on a stream. The stream's context is current as long as this lives.
class Launch {
 public:
  Launch(void* stream, const Image& image, const Work& work);
  ~Launch();

  // The rows per cluster that let all clusters finish at about the same time: at least one, and no
  // more than fit in shared memory.
  int64_t rows_each() const;

  // Launches the kernel with one argument, a structure.
  void run(int64_t rows_each, void* argument) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Throws unless the device with this number can run the image.
void check(int device, const Image& image, const Work& work);

// The version of CUDA that the driver supports, as 1000 major + 10 minor.
int driver_version();

// Names the library to load instead of libcuda. Must be called first.
void use_driver(const char* path);

}  // namespace gru::gpu
