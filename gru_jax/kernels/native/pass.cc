#include "pass.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>

namespace gru {
namespace {

using Floats = std::unique_ptr<float[], void (*)(float*)>;

Floats allocate(int64_t count) {
  constexpr std::align_val_t line{64};
  return Floats(new (line) float[count],
                [](float* p) { ::operator delete[](p, std::align_val_t{64}); });
}

// Below this many operations a thread is not worth waking, nor below this many packed floats.
constexpr double kWorthwhile = 1e6;
constexpr int64_t kPacked = 1 << 17;

int64_t threads(const Pool& pool, const Problem& p) {
  const double operations = 6.0 * p.time * p.rows * p.hidden * (p.input + p.hidden);
  return std::max(1.0, std::min<double>(pool.threads(), operations / kWorthwhile));
}

// Rows of one task: an equal share, but not more than have their gates in the cache.
int64_t row_tasks(const Problem& p, int64_t threads) {
  const int64_t most = std::max<int64_t>(48, (1 << 16) / (3 * p.hidden));
  const int64_t needed = (p.rows + most - 1) / most;
  return std::min(p.rows, (needed + threads - 1) / threads * threads);
}

template <typename P>
Floats pack(const P& p, Team& team, int64_t (*floats)(const Problem&),
            void (*part)(const P&, int64_t, int64_t, float*)) {
  const int64_t count = floats(p), parts = count < kPacked ? 1 : team.threads();
  Floats packed = allocate(count);
  team.run(parts, [&](int64_t i, int64_t) { part(p, i, parts, packed.get()); });
  return packed;
}

void in_rows(const Problem& p, Team& team, int64_t (*scratch)(const Problem&, int64_t),
             const std::function<void(int64_t, int64_t, float*)>& body) {
  const int64_t tasks = row_tasks(p, team.threads());
  // Fewer rows may need more, for more steps at once.
  const int64_t fewest = p.rows / tasks;
  const int64_t each = std::max(scratch(p, fewest), scratch(p, (p.rows + tasks - 1) / tasks));
  const Floats memory = allocate(std::min(tasks, team.threads()) * each);
  team.run(tasks, [&](int64_t i, int64_t worker) {
    body(p.rows * i / tasks, p.rows * (i + 1) / tasks, memory.get() + worker * each);
  });
}

}  // namespace

void forward(const Level& level, const Forward& f, Pool& pool) {
  Team team(pool, std::min(f.rows, threads(pool, f)));
  const Floats packed = pack(f, team, level.forward_packed, level.pack_forward);
  in_rows(f, team, level.forward_scratch, [&](int64_t from, int64_t to, float* scratch) {
    level.forward(f, packed.get(), from, to, scratch);
  });
}

void backward(const Level& level, const Backward& f, Pool& pool) {
  Team team(pool, threads(pool, f));
  const Floats packed = pack(f, team, level.backward_packed, level.pack_backward);
  in_rows(f, team, level.backward_scratch, [&](int64_t from, int64_t to, float* scratch) {
    level.backward(f, packed.get(), from, to, scratch);
  });
  const int64_t weights = f.dW[0] ? team.threads() : 0, inputs = f.dxs ? team.threads() : 0;
  const int64_t steps = f.time * f.rows;
  const int64_t each = level.weights_scratch(f);
  const Floats memory = allocate(weights * each);
  team.run(weights + inputs, [&](int64_t i, int64_t) {
    if (i < weights) {
      level.weights(f, i, weights, memory.get() + i * each);
    } else {
      i -= weights;
      level.inputs(f, packed.get(), steps * i / inputs, steps * (i + 1) / inputs);
    }
  });
}

}  // namespace gru
