// NVIDIA's driver, loaded when it is first needed: images of compiled code as functions, launches.

#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "problem.h"

namespace gru::gpu {

// What the driver refused, as a sentence.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Compiled code: an image for one architecture, the name of its only kernel, and a number that no
// other image has.
struct Image {
  const void* bytes;
  std::string name;
  int64_t key;
};

// What a kernel has to do, and how it parts it.
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

  // The rows of each cluster, so that all clusters end at about the same time: no more than fit into
  // shared memory, and a row at least.
  int64_t rows_each() const;

  // Launches the kernel with one argument, a structure.
  void run(int64_t rows_each, void* argument) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Throws unless the device with this number can run the image.
void check(int device, const Image& image, const Work& work);

// The version of CUDA that the driver brings, as 1000 major + 10 minor.
int driver_version();

// Names the library to load instead of libcuda, before the first call of the above.
void use_driver(const char* path);

}  // namespace gru::gpu
