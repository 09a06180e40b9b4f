#include "pass.h"

#include <algorithm>
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

// Bytes of weights that act on the state, for each thread that is to have its own.
constexpr int64_t kShared = 1 << 16;

int64_t threads(const Pool& pool, const Problem& p) {
  const double operations = 6.0 * p.time * p.rows * p.hidden * (p.input + p.hidden);
  return std::max(1.0, std::min<double>(pool.threads(), operations / kWorthwhile));
}

// Tasks by rows, an equal share for each thread, but not more rows than have their gates in the
// cache; or, for few rows and many weights, all rows at once, and the columns of each stage shared.
struct Cut {
  int64_t rows, columns;
};

Cut cut(const Problem& p, int64_t panels, int64_t threads) {
  const int64_t share = 12 * p.hidden * p.hidden / kShared;
  if (2 * p.rows <= threads && share > 1) {
    return {1, std::min({threads, panels, share})};
  }
  const int64_t most = std::max<int64_t>(48, (1 << 16) / (3 * p.hidden));
  const int64_t needed = (p.rows + most - 1) / most;
  return {std::min(p.rows, (needed + threads - 1) / threads * threads), 1};
}

template <typename P>
Floats pack(const Recurrence<P>& recurrence, const P& p, Team& team) {
  const int64_t count = recurrence.packed(p), parts = count < kPacked ? 1 : team.threads();
  Floats packed = allocate(count);
  team.run(parts, [&](int64_t i, int64_t) { recurrence.pack(p, i, parts, packed.get()); });
  return packed;
}

template <typename P>
void recur(const Recurrence<P>& recurrence, const P& p, const float* packed, int64_t panels,
           const Cut& cut, Team& team) {
  const int64_t tasks = cut.rows, parts = cut.columns;
  // Fewer rows may need more, for more steps at once.
  const int64_t each = std::max(recurrence.scratch(p, p.rows / tasks),
                                recurrence.scratch(p, (p.rows + tasks - 1) / tasks));
  const Floats memory = allocate(std::min(tasks, team.threads()) * each);
  if (parts > 1) {
    team.relay(parts, recurrence.stages(p, p.rows), [&](int64_t part, int64_t stage) {
      const Share share{0, p.rows, panels * part / parts, panels * (part + 1) / parts};
      recurrence.stage(p, packed, share, stage, memory.get());
    });
  } else {
    team.run(tasks, [&](int64_t i, int64_t worker) {
      const Share share{p.rows * i / tasks, p.rows * (i + 1) / tasks, 0, panels};
      const int64_t stages = recurrence.stages(p, share.to - share.from);
      for (int64_t stage = 0; stage < stages; ++stage) {
        recurrence.stage(p, packed, share, stage, memory.get() + worker * each);
      }
    });
  }
}

}  // namespace

void forward(const Level& level, const Forward& f, Pool& pool) {
  const int64_t panels = level.panels(f.hidden);
  const int64_t most = threads(pool, f);
  const Cut shares = cut(f, panels, most);
  Team team(pool, std::min(most, shares.rows * shares.columns));
  const Floats packed = pack(level.forward, f, team);
  recur(level.forward, f, packed.get(), panels, shares, team);
}

void backward(const Level& level, const Backward& f, Pool& pool) {
  const int64_t panels = level.panels(f.hidden);
  Team team(pool, threads(pool, f));
  const Floats packed = pack(level.backward, f, team);
  recur(level.backward, f, packed.get(), panels, cut(f, panels, team.threads()), team);
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
