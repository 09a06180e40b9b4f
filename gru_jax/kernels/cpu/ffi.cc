// Buffers of XLA's FFI as the kernel's problems, after a look at every shape.

#include "ffi.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

#include "buffers.h"
#include "levels.h"
#include "pass.h"

namespace gru {
namespace {

class XlaPool : public Pool {
 public:
  explicit XlaPool(ffi::ThreadPool pool) : pool_(pool) {}
  int64_t threads() const override { return std::max<int64_t>(1, pool_.num_threads()); }
  void schedule(std::function<void()> task) override { pool_.Schedule(std::move(task)); }

 private:
  mutable ffi::ThreadPool pool_;
};

// The shapes of a call's arrays. If xs has four axes, the first of every array is the members'.
class Shapes {
 public:
  explicit Shapes(Floats xs) : xs_(xs.dimensions().begin(), xs.dimensions().end()) {
    if (xs_.size() != 3 && xs_.size() != 4) {
      throw Mismatch{"gru_jax: xs must have three axes, or four with one of members."};
    }
  }
  int64_t members() const { return several() ? xs_[0] : 1; }
  int64_t outer() const { return xs_[several()]; }
  int64_t inner() const { return xs_[several() + 1]; }
  int64_t input() const { return xs_.back(); }

  // The shape of an array, given a member's.
  std::vector<int64_t> operator()(std::initializer_list<int64_t> each) const {
    std::vector<int64_t> shape(xs_.begin(), xs_.begin() + several());
    shape.insert(shape.end(), each);
    return shape;
  }

 private:
  bool several() const { return xs_.size() == 4; }

  const std::vector<int64_t> xs_;
};

template <typename P>
P problem(const Shapes& of, Floats xs, Floats h0, Bools valid, Bools resets, Floats h_reset,
          Floats W_r, Floats W_z, Floats W_c, int64_t time_axis, bool reverse, bool after,
          float clip) {
  if (time_axis != 0 && time_axis != 1) throw Mismatch{"gru_jax: time_axis must be 0 or 1."};
  const int64_t outer = of.outer(), inner = of.inner();
  P p{};
  p.members = of.members(), p.input = of.input();
  p.time = time_axis == 0 ? outer : inner, p.rows = time_axis == 0 ? inner : outer;
  if (!(clip >= 0)) throw Mismatch{"gru_jax: clip must be 0 or more."};
  if (h0.dimensions().size() < 1) throw Mismatch{"gru_jax: h0 must have an axis of features."};
  p.hidden = h0.dimensions().back();
  if (p.members < 1 || p.time < 1 || p.rows < 1 || p.hidden < 1) {
    throw Mismatch{"gru_jax: members, time, rows and hidden must be 1 or more."};
  }
  p.time_stride = time_axis == 0 ? p.rows : 1;
  p.row_stride = time_axis == 0 ? 1 : p.time;
  p.reverse = reverse, p.after = after, p.clip = clip;
  const int64_t joint = p.input + p.hidden;
  p.xs = xs.typed_data();
  p.W[0] = take("W_r", W_r, of({joint, p.hidden}));
  p.W[1] = take("W_z", W_z, of({joint, p.hidden}));
  p.W[2] = take("W_c", W_c, of({joint, p.hidden}));
  p.h0 = take("h0", h0, of({p.rows, p.hidden}));
  p.valid = reinterpret_cast<const uint8_t*>(take("valid", valid, of({outer, inner}), true));
  p.resets = reinterpret_cast<const uint8_t*>(take("resets", resets, of({outer, inner}), true));
  p.h_reset = take("h_reset", h_reset, of({p.rows, p.hidden}), true);
  together("resets and h_reset", p.resets, p.h_reset);
  return p;
}

ffi::Error forward_call(ffi::ThreadPool threads, Floats xs, Floats W_r, Floats W_z, Floats W_c,
                        Floats b_r, Floats b_z, Floats b_c, Floats b_h, Floats h0, Bools valid,
                        Bools resets, Floats h_reset, Result hs, Result r, Result z, Result c,
                        Result q, int64_t time_axis, bool reverse, bool after, float clip,
                        bool keep) {
  return guarded([&] {
    const Shapes of(xs);
    Forward f = problem<Forward>(of, xs, h0, valid, resets, h_reset, W_r, W_z, W_c, time_axis,
                                 reverse, after, clip);
    const int64_t H = f.hidden, outer = of.outer(), inner = of.inner();
    f.b[0] = take("b_r", b_r, of({H})), f.b[1] = take("b_z", b_z, of({H})),
    f.b[2] = take("b_c", b_c, of({H}));
    f.b_h = after ? take("b_h", b_h, of({H})) : nullptr;
    f.hs = take("hs", *hs, of({outer, inner, H}));
    Result* gates[] = {&r, &z, &c, &q};
    for (int i = 0; i < (keep ? after ? 4 : 3 : 0); ++i) {
      f.gates[i] = take("gates", **gates[i], of({outer, inner, H}));
    }
    XlaPool pool(threads);
    forward(level(), f, pool);
  });
}

ffi::Error backward_call(ffi::ThreadPool threads, Floats xs, Floats W_r, Floats W_z, Floats W_c,
                         Floats hs, Floats h0, Bools valid, Bools resets, Floats h_reset, Floats r,
                         Floats z, Floats c, Floats q, Floats dhs, Result da_r, Result da_z,
                         Result da_c, Result dq, Result dh0, Result dh_reset, Result dxs,
                         Result dW_r, Result dW_z, Result dW_c, Result db_r, Result db_z,
                         Result db_c, Result db_h, int64_t time_axis, bool reverse, bool after,
                         float clip, bool products, bool inputs) {
  return guarded([&] {
    const Shapes of(xs);
    Backward f = problem<Backward>(of, xs, h0, valid, resets, h_reset, W_r, W_z, W_c, time_axis,
                                   reverse, after, clip);
    const int64_t H = f.hidden, I = f.input, outer = of.outer(), inner = of.inner();
    f.hs = take("hs", hs, of({outer, inner, H}));
    f.dhs = take("dhs", dhs, of({outer, inner, H}));
    Floats* gates[] = {&r, &z, &c, &q};
    Result* da[] = {&da_r, &da_z, &da_c, &dq};
    Result* db[] = {&db_r, &db_z, &db_c, &db_h};
    Result* dW[] = {&dW_r, &dW_z, &dW_c};
    for (int i = 0; i < (after ? 4 : 3); ++i) {
      f.gates[i] = take("gates", *gates[i], of({outer, inner, H}));
      f.da[i] = take("da", **da[i], of({outer, inner, H}));
      if (products) f.db[i] = take("db", **db[i], of({H}));
      if (products && i < 3) f.dW[i] = take("dW", **dW[i], of({I + H, H}));
    }
    f.dh0 = take("dh0", *dh0, of({f.rows, H}));
    f.dh_reset = f.resets ? take("dh_reset", *dh_reset, of({f.rows, H})) : nullptr;
    f.dxs = inputs ? take("dxs", *dxs, of({outer, inner, I})) : nullptr;
    XlaPool pool(threads);
    backward(level(), f, pool);
  });
}

}  // namespace
}  // namespace gru

#define GRU_OPERANDS_4 .Arg<gru::Floats>().Arg<gru::Floats>().Arg<gru::Floats>().Arg<gru::Floats>()
#define GRU_RESULTS_4 .Ret<gru::Floats>().Ret<gru::Floats>().Ret<gru::Floats>().Ret<gru::Floats>()
#define GRU_ATTRIBUTES \
  .Attr<int64_t>("time_axis").Attr<bool>("reverse").Attr<bool>("after").Attr<float>("clip")

// clang-format off: the macros look like calls
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    gru_jax_forward, gru::forward_call,
    gru::ffi::Ffi::Bind()
        .Ctx<gru::ffi::ThreadPool>() GRU_OPERANDS_4 GRU_OPERANDS_4 .Arg<gru::Floats>()  // to h0
        .Arg<gru::Bools>()
        .Arg<gru::Bools>()
        .Arg<gru::Floats>()  // valid, resets, h_reset
        .Ret<gru::Floats>() GRU_RESULTS_4 GRU_ATTRIBUTES.Attr<bool>("keep"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    gru_jax_backward, gru::backward_call,
    gru::ffi::Ffi::Bind()
        .Ctx<gru::ffi::ThreadPool>() GRU_OPERANDS_4.Arg<gru::Floats>()
        .Arg<gru::Floats>()  // to h0
        .Arg<gru::Bools>()
        .Arg<gru::Bools>()
        .Arg<gru::Floats>() GRU_OPERANDS_4.Arg<gru::Floats>()  // h_reset, gates, dhs
            GRU_RESULTS_4 GRU_RESULTS_4 GRU_RESULTS_4.Ret<gru::Floats>()
        .Ret<gru::Floats>() GRU_ATTRIBUTES.Attr<bool>("products")
        .Attr<bool>("inputs"));
// clang-format on
