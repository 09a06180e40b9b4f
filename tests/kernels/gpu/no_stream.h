// A placeholder for the stream: XLA has none when it runs the GPU handlers on a CPU.

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
