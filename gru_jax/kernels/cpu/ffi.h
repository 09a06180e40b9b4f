// The kernel as XLA calls it.

#pragma once

#include "xla/ffi/api/c_api.h"

// The library hides all other functions.
#define GRU_EXPORT extern "C" __attribute__((visibility("default")))

GRU_EXPORT XLA_FFI_Error* gru_jax_forward(XLA_FFI_CallFrame* frame);
GRU_EXPORT XLA_FFI_Error* gru_jax_backward(XLA_FFI_CallFrame* frame);
GRU_EXPORT XLA_FFI_Error* gru_jax_gpu_forward(XLA_FFI_CallFrame* frame);
GRU_EXPORT XLA_FFI_Error* gru_jax_gpu_backward(XLA_FFI_CallFrame* frame);
