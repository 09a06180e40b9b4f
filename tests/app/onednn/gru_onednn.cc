// oneDNN's GRU behind four C functions, for the tests to call through ctypes.
//
//   weights --reorder--> packed --+
//                  xs, h0 --------+--> rnn forward --> hs, workspace --> rnn backward --> gradients
//
// Everything is made once, for one shape and for arrays that the caller keeps. They lie as in
// oneDNN's own examples: sequences time-major, weights [input, gate, hidden], gates u, r, o. What
// is read of the weights is a copy in the layout that the primitive asks for: for inference it is
// made at once, as a runtime does when it loads a model; in training every call makes it anew,
// forth and back, for each step of an optimiser changes them.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// In the order of `tests/support/onednn_driver.py`. With `weigh` it is training; with `h0` it
// starts from that state.
struct Arrays {
  float *xs, *h0, *layer, *iter, *bias, *hs;
  float *weigh, *xs_grad, *layer_grad, *iter_grad, *bias_grad;
};

// What stands for `Forward` on the way back, and how many biases there are.
template <class Forward>
struct Form;
template <>
struct Form<dnnl::gru_forward> {
  using Backward = dnnl::gru_backward;
  static constexpr memory::dim biases = 3;
};
template <>
struct Form<dnnl::lbr_gru_forward> {
  using Backward = dnnl::lbr_gru_backward;
  static constexpr memory::dim biases = 4;
};

memory::desc describe(memory::dims dims, Tag tag) {
  return {std::move(dims), memory::data_type::f32, tag};
}

// Up to version 2 a descriptor of the operation comes first. `hint` is that of the way there.
template <class Primitive, class... Hint, class... Parts>
auto choose(const dnnl::engine& engine, std::tuple<Hint...> hint, const Parts&... parts) {
  using Chosen = typename Primitive::primitive_desc;
#if DNNL_VERSION_MAJOR < 3
  const typename Primitive::desc operation(parts...);
  return std::apply([&](auto&... h) { return Chosen(operation, engine, h...); }, hint);
#else
  return std::apply([&](auto&... h) { return Chosen(engine, parts..., h...); }, hint);
#endif
}

class Network {
 public:
  template <class Forward>
  Network(Forward*, memory::dim batch, memory::dim time, memory::dim input, memory::dim hidden,
          const Arrays& a)
      : stream_(engine_) {
    const auto xs = describe({time, batch, input}, Tag::tnc);
    const auto hs = describe({time, batch, hidden}, Tag::tnc);
    const auto h0 = a.h0 ? describe({1, 1, batch, hidden}, Tag::ldnc) : memory::desc();
    const auto layer = describe({1, 1, input, 3, hidden}, Tag::ldigo);
    const auto iter = describe({1, 1, hidden, 3, hidden}, Tag::ldigo);
    const auto bias = describe({1, 1, Form<Forward>::biases, hidden}, Tag::ldgo);
    const auto any_layer = describe({1, 1, input, 3, hidden}, Tag::any);
    const auto any_iter = describe({1, 1, hidden, 3, hidden}, Tag::any);
    const auto right = dnnl::rnn_direction::unidirectional_left2right;
    const memory::desc none;

    const auto kind =
        a.weigh ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
    const auto forward = choose<Forward>(engine_, std::tuple(), kind, right, xs, h0, any_layer,
                                         any_iter, bias, hs, none);
    std::unordered_map<int, memory> args{
        {DNNL_ARG_SRC_LAYER, view(xs, a.xs)},
        {DNNL_ARG_WEIGHTS_LAYER, packed(there_, layer, a.layer, forward.weights_layer_desc())},
        {DNNL_ARG_WEIGHTS_ITER, packed(there_, iter, a.iter, forward.weights_iter_desc())},
        {DNNL_ARG_BIAS, view(bias, a.bias)},
        {DNNL_ARG_DST_LAYER, view(hs, a.hs)},
    };
    if (a.h0) args[DNNL_ARG_SRC_ITER] = view(h0, a.h0);
    if (!a.weigh) {
      execute(there_);
      there_ = {{Forward(forward), args}};
      return;
    }
    args[DNNL_ARG_WORKSPACE] = memory(forward.workspace_desc(), engine_);
    there_.push_back({Forward(forward), args});

    using Backward = typename Form<Forward>::Backward;
    const auto backward =
        choose<Backward>(engine_, std::tuple(forward), dnnl::prop_kind::backward, right, xs, h0,
                         any_layer, any_iter, bias, hs, none, xs, h0, layer, iter, bias, hs, none);
    args[DNNL_ARG_WEIGHTS_LAYER] = packed(back_, layer, a.layer, backward.weights_layer_desc());
    args[DNNL_ARG_WEIGHTS_ITER] = packed(back_, iter, a.iter, backward.weights_iter_desc());
    args[DNNL_ARG_DIFF_DST_LAYER] = view(hs, a.weigh);
    args[DNNL_ARG_DIFF_SRC_LAYER] = view(xs, a.xs_grad);
    args[DNNL_ARG_DIFF_WEIGHTS_LAYER] = view(layer, a.layer_grad);
    args[DNNL_ARG_DIFF_WEIGHTS_ITER] = view(iter, a.iter_grad);
    args[DNNL_ARG_DIFF_BIAS] = view(bias, a.bias_grad);
    back_.push_back({Backward(backward), args});
    for (int grad : {DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER, DNNL_ARG_DIFF_BIAS})
      sums_.push_back(args[grad]);
    hs_ = args[DNNL_ARG_DST_LAYER], weigh_ = args[DNNL_ARG_DIFF_DST_LAYER];
  }

  // The loss is the sum of weigh * hs, so its gradient by hs is weigh. 0 where nothing is trained.
  float run() {
    execute(there_);
    float loss = 0;
    if (back_.empty()) return loss;
    const auto *hs = data(hs_), *weigh = data(weigh_);
    const auto count = length(hs_);
#pragma omp parallel for simd reduction(+ : loss)
    for (std::ptrdiff_t i = 0; i < count; i++) loss += weigh[i] * hs[i];
    for (const auto& sum : sums_)  // oneDNN adds to what it finds
      std::fill_n(data(sum), length(sum), 0.f);
    execute(back_);
    return loss;
  }

 private:
  using Work = std::vector<std::pair<dnnl::primitive, std::unordered_map<int, memory>>>;

  static float* data(const memory& m) { return static_cast<float*>(m.get_data_handle()); }
  static std::ptrdiff_t length(const memory& m) { return m.get_desc().get_size() / sizeof(float); }

  memory view(const memory::desc& desc, float* at) const { return {desc, engine_, at}; }

  // Adds to `work` the copying of an array into another layout; returns what it is copied to.
  memory packed(Work& work, const memory::desc& plain, float* at, const memory::desc& wanted) {
    const auto from = view(plain, at);
    const memory to(wanted, engine_);
    work.push_back({dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}});
    return to;
  }

  void execute(const Work& work) {
    for (const auto& [primitive, args] : work) primitive.execute(stream_, args);
    stream_.wait();
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  Work there_, back_;
  std::vector<memory> sums_;
  memory hs_, weigh_;
};

// Returns what went wrong, null if nothing did.
template <class Call>
const char* guard(Call call) {
  static thread_local char message[256];
  try {
    call();
    return nullptr;
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof message, "%s", error.what());
    return message;
  }
}

}  // namespace

extern "C" {

const char* gru_onednn_version() {
  static char text[64];
  const auto* v = dnnl_version();
  std::snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
  return text;
}

// `after` is lbr_gru, else gru.
const char* gru_onednn_create(Network** made, int after, int batch, int time, int input, int hidden,
                              const Arrays* arrays) {
  return guard([&] {
    dnnl::set_primitive_cache_capacity(0);  // what is made anew is compiled anew
    const auto make = [&](auto* form) {
      *made = new Network(form, batch, time, input, hidden, *arrays);
    };
    if (after)
      make(static_cast<dnnl::lbr_gru_forward*>(nullptr));
    else
      make(static_cast<dnnl::gru_forward*>(nullptr));
  });
}

const char* gru_onednn_run(Network* network, float* loss) {
  return guard([&] { *loss = network->run(); });
}

void gru_onednn_destroy(Network* network) { delete network; }
}
