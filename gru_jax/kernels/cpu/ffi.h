// The kernel as XLA calls it.

#pragma once

#include "xla/ffi/api/c_api.h"

extern "C" XLA_FFI_Error* gru_jax_forward(XLA_FFI_CallFrame* frame);
extern "C" XLA_FFI_Error* gru_jax_backward(XLA_FFI_CallFrame* frame);
