// The GPU kernel's XLA handlers, and the checks that library.py calls.

#include "../cpu/ffi.h"

#include "../cpu/buffers.h"
#include "driver.h"

#ifndef GRU_STREAM  // the tests name another, because XLA has no stream on a CPU
#define GRU_STREAM ffi::PlatformStream<void*>
#endif

namespace gru::gpu {
namespace {

using Ints = ffi::Buffer<ffi::S32>;
using Bytes = ffi::Span<const uint8_t>;

// Reads the arguments that both passes share.
template <typename P>
P problem(Floats h0, Ints flags, Floats h_reset, Result states, int64_t time_axis, bool reverse,
          float clip) {
  const auto steps = states->dimensions();
  if (steps.size() != 3 || (time_axis != 0 && time_axis != 1)) {
    throw Mismatch{"gru_jax: states must have three axes, and time must be one of the first two."};
  }
  P p{};
  const int64_t H = steps[2], time = steps[time_axis], rows = steps[1 - time_axis];
  if (time < 1 || rows < 1 || H < 1 || time > INT32_MAX || rows > INT32_MAX) {
    throw Mismatch{"gru_jax: time, rows and hidden must be 1 or more, and below 2^31."};
  }
  p.time = static_cast<int>(time), p.rows = static_cast<int>(rows), p.hidden = static_cast<int>(H);
  p.time_stride = time_axis == 0 ? rows : 1;
  p.row_stride = time_axis == 0 ? 1 : time;
  p.reverse = reverse, p.clip = clip;
  p.h0 = take("h0", h0, {rows, H});
  p.flags = take("flags", flags, {steps[0], steps[1]}, true);
  p.h_reset = take("h_reset", h_reset, {rows, H}, true);
  return p;
}

template <typename P>
void run(void* stream, P& p, bool backward, int64_t width, Bytes image, std::string_view name,
         int64_t key) {
  const Shape shape = shape_of(static_cast<int>(width));
  if (!shape.slices || p.hidden > width) {
    throw Mismatch{"gru_jax: no kernel has the width " + std::to_string(width) + "."};
  }
  const Image code{image.begin(), std::string(name), key};
  launch(stream, code, {p.rows, shape, backward}, [&](int64_t& rows_each) {
    const int64_t pitch = p.row_stride * p.hidden;
    rows_each = std::clamp<int64_t>(INT32_MAX / 3 / pitch, 1, rows_each);
    p.rows_each = static_cast<int>(rows_each);
    p.row_pitch = rows_each > 1 ? static_cast<int>(pitch) : 0;
    return &p;
  });
}

ffi::Error forward_call(void* stream, Floats drive, Floats U, Floats b_r, Floats b_z, Floats b_c,
                        Floats b_h, Floats h0, Ints flags, Floats h_reset, Result hs, Result r,
                        Result z, Result c, Result q, int64_t time_axis, bool reverse, bool after,
                        float clip, bool keep, int64_t width, Bytes image, std::string_view name,
                        int64_t key) {
  return guarded([&] {
    auto f = problem<Forward>(h0, flags, h_reset, hs, time_axis, reverse, clip);
    const int64_t H = f.hidden, outer = hs->dimensions()[0], inner = hs->dimensions()[1];
    f.drive = take("drive", drive, {outer, inner, 3 * H});
    f.hs = hs->typed_data();
    const float* of_gate = take("U", U, {3, H, H});
    Floats* b[] = {&b_r, &b_z, &b_c, &b_h};
    Result* gates[] = {&r, &z, &c, &q};
    for (int gate = 0; gate < (after ? 4 : 3); ++gate) {
      if (gate < 3) f.U[gate] = of_gate + gate * H * H;
      f.b[gate] = take("b", *b[gate], {H});
      f.gates[gate] = keep ? take("gates", **gates[gate], {outer, inner, H}) : nullptr;
    }
    run(stream, f, false, width, image, name, key);
  });
}

ffi::Error backward_call(void* stream, Floats W_r, Floats W_z, Floats W_c, Floats hs, Floats h0,
                         Ints flags, Floats h_reset, Floats r, Floats z, Floats c, Floats q,
                         Floats dhs, Result da_r, Result da_z, Result da_c, Result dq, Result dh0,
                         Result dh_reset, int64_t time_axis, bool reverse, bool after, float clip,
                         int64_t width, Bytes image, std::string_view name, int64_t key) {
  return guarded([&] {
    auto f = problem<Backward>(h0, flags, h_reset, da_r, time_axis, reverse, clip);
    const int64_t H = f.hidden, outer = da_r->dimensions()[0], inner = da_r->dimensions()[1];
    f.hs = take("hs", hs, {outer, inner, H});
    f.dhs = take("dhs", dhs, {outer, inner, H});
    Floats* weights[] = {&W_r, &W_z, &W_c};
    for (int gate = 0; gate < 3; ++gate) {
      const auto shape = weights[gate]->dimensions();
      const int64_t joint = shape.size() == 2 ? shape[0] : 0;
      if (joint < H) throw Mismatch{"gru_jax: weights must have a row for each unit of the state."};
      f.U[gate] = take("W", *weights[gate], {joint, H}) + (joint - H) * H;
    }
    Floats* gates[] = {&r, &z, &c, &q};
    Result* da[] = {&da_r, &da_z, &da_c, &dq};
    for (int gate = 0; gate < (after ? 4 : 3); ++gate) {
      f.gates[gate] = take("gates", *gates[gate], {outer, inner, H});
      f.da[gate] = take("da", **da[gate], {outer, inner, H});
    }
    f.dh0 = take("dh0", *dh0, {f.rows, H});
    f.dh_reset = f.h_reset ? take("dh_reset", *dh_reset, {f.rows, H}) : nullptr;
    run(stream, f, true, width, image, name, key);
  });
}

// Runs the body and returns its error message, empty without an error. The pointer is valid until
// this thread calls again.
template <typename Body>
const char* complaint(const Body& body) {
  thread_local std::string text;
  text.clear();
  try {
    body();
  } catch (const std::exception& error) {
    text = error.what();
  }
  return text.c_str();
}

// Adds Count operands to a binding. Bindings cannot be copied, so each call moves one on.
template <int Count, typename Binding>
auto operands(Binding&& binding) {
  if constexpr (Count == 1) return std::move(binding).template Arg<Floats>();
  if constexpr (Count > 1) return operands<Count - 1>(std::move(binding).template Arg<Floats>());
}

template <int Count, typename Binding>
auto results(Binding&& binding) {
  if constexpr (Count == 1) return std::move(binding).template Ret<Floats>();
  if constexpr (Count > 1) return results<Count - 1>(std::move(binding).template Ret<Floats>());
}

template <typename Binding>
auto options(Binding&& binding) {
  return std::move(binding)
      .template Attr<int64_t>("time_axis")
      .template Attr<bool>("reverse")
      .template Attr<bool>("after")
      .template Attr<float>("clip");
}

template <typename Binding>
auto code(Binding&& binding) {
  return std::move(binding)
      .template Attr<int64_t>("width")
      .template Attr<Bytes>("image")
      .template Attr<std::string_view>("name")
      .template Attr<int64_t>("key");
}

auto bind_forward() {
  auto&& to_h0 = operands<7>(ffi::Ffi::Bind().Ctx<GRU_STREAM>());
  auto&& all = results<5>(operands<1>(std::move(to_h0).Arg<Ints>()));
  return code(options(std::move(all)).Attr<bool>("keep"));
}

auto bind_backward() {
  auto&& to_h0 = operands<5>(ffi::Ffi::Bind().Ctx<GRU_STREAM>());
  return code(options(results<6>(operands<6>(std::move(to_h0).Arg<Ints>()))));
}

}  // namespace
}  // namespace gru::gpu

XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_jax_gpu_forward, gru::gpu::forward_call,
                              gru::gpu::bind_forward());
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_jax_gpu_backward, gru::gpu::backward_call,
                              gru::gpu::bind_backward());

// Why a device cannot run an image; empty if it can.
GRU_EXPORT const char* gru_jax_gpu_check(int device, int backward, int width, const void* image,
                                         const char* name, int64_t key) {
  return gru::gpu::complaint([&] {
    const gru::gpu::Work one_row{1, gru::gpu::shape_of(width), backward != 0};
    gru::gpu::check(device, {image, name, key}, one_row);
  });
}

// The version of CUDA that the driver supports; 0 without a driver.
GRU_EXPORT int gru_jax_gpu_driver_version() {
  int version = 0;
  gru::gpu::complaint([&] { version = gru::gpu::driver_version(); });
  return version;
}

GRU_EXPORT void gru_jax_gpu_use_driver(const char* path) { gru::gpu::use_driver(path); }
