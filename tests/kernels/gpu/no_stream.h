// Takes the stream's place where XLA runs the GPU's handlers on a CPU, on which it has none.

#pragma once

#include <optional>

#include "xla/ffi/api/ffi.h"

struct NoStream {};

template <>
struct xla::ffi::CtxDecoding<NoStream> {
  using Type = void*;

  static std::optional<Type> Decode(const XLA_FFI_Api*, XLA_FFI_ExecutionContext*,
                                    DiagnosticEngine&) {
    return nullptr;
  }
};
