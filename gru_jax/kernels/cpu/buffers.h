// Buffers of XLA's FFI: a look at their shapes, and what is thrown as an error of XLA's.
//
// Arrays that are absent have the shape [0].

#pragma once

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace gru {

namespace ffi = xla::ffi;

using Floats = ffi::Buffer<ffi::F32>;
using Bools = ffi::Buffer<ffi::PRED>;
using Result = ffi::Result<Floats>;

struct Mismatch {
  std::string message;
};

// The buffer's numbers, if its shape is the needed one; null if it is absent and may be.
template <typename Buffer>
auto* take(const char* name, Buffer& buffer, const std::vector<int64_t>& needed,
           bool optional = false) {
  const auto got = buffer.dimensions();
  if (optional && got.size() == 1 && got[0] == 0) return decltype(buffer.typed_data())(nullptr);
  if (!std::equal(got.begin(), got.end(), needed.begin(), needed.end())) {
    std::string text = std::string("gru_jax: ") + name + " must be [";
    for (int64_t n : needed) text += std::to_string(n) + " ";
    text += "], got [";
    for (int64_t n : got) text += std::to_string(n) + " ";
    throw Mismatch{text + "]."};
  }
  return buffer.typed_data();
}

// An absent operand would be read as zeros of no length: whether it is there has to agree.
inline void together(const char* names, bool one, bool other) {
  if (one != other) throw Mismatch{std::string("gru_jax: needs both or neither of ") + names + "."};
}

// Runs a pass; whatever it throws comes back as an error.
template <typename Body>
ffi::Error guarded(const Body& body) {
  try {
    body();
    return ffi::Error::Success();
  } catch (const Mismatch& mismatch) {
    return ffi::Error::InvalidArgument(mismatch.message);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "gru_jax: out of memory.");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("gru_jax: ") + error.what());
  }
}

}  // namespace gru
