#include "pass.h"

#include "members.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
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

// Large results are new memory each time, and to get it 4 KB at a time takes the system a tenth of a
// large training step. Pages at the ends, of which the next array has a part, are included.
void prefer_huge_pages([[maybe_unused]] float* numbers, [[maybe_unused]] int64_t count) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 1 << 21;
  if (!numbers || count < int64_t(page / sizeof(float))) return;
  const uintptr_t from = reinterpret_cast<uintptr_t>(numbers) / page * page;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(numbers + count) + page - 1) / page * page;
  madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#endif
}

// Below this many operations a thread is not worth waking, nor below this many packed floats.
constexpr double kWorthwhile = 1e6;
constexpr int64_t kPacked = 1 << 17;

// Bytes of weights that act on the state: for each thread that is to have its own, and those that
// a core has near.
constexpr int64_t kShared = 1 << 16;
constexpr int64_t kNear = 1 << 20;

int64_t threads(const Pool& pool, const Problem& p) {
  const double operations = 6.0 * p.members * p.time * p.rows * p.hidden * (p.input + p.hidden);
  return std::max(1.0, std::min<double>(pool.threads(), operations / kWorthwhile));
}

// Tasks by rows, an equal share for each thread, but not more rows than have their gates in the
// cache. Or, for few rows and many weights, all rows at once, and the columns of each stage shared:
// a thread reads its part of the weights in every step, not all of them, but waits for the others.
struct Cut {
  int64_t rows, columns;
};

Cut cut(const Problem& p, int64_t panels, int64_t threads) {
  const int64_t weights = 12 * p.hidden * p.hidden;
  const int64_t parts = std::min({threads, panels, weights / kShared});
  const int64_t few = weights > kNear ? 2 * parts : weights > kNear / 2 ? parts : threads / 2;
  if (parts > 1 && p.rows <= few) return {1, parts};
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
  const int64_t fewer = p.rows / tasks, more = (p.rows + tasks - 1) / tasks;
  const int64_t wide = (panels + parts - 1) / parts, common = recurrence.common(p, more);
  const int64_t own = std::max(recurrence.own(p, fewer, wide), recurrence.own(p, more, wide));
  const int64_t workers = std::min(tasks, team.threads());
  const Floats memory = allocate(workers * common + workers * parts * own);
  float* const owns = memory.get() + workers * common;
  if (parts > 1) {
    team.relay(parts, recurrence.stages(p, p.rows), [&](int64_t part, int64_t stage) {
      const Share share{{0, p.rows}, part_of(panels, part, parts)};
      recurrence.stage(p, packed, share, stage, owns + part * own, memory.get());
    });
  } else {
    team.run(tasks, [&](int64_t i, int64_t worker) {
      const Share share{part_of(p.rows, i, tasks), {0, panels}};
      const int64_t stages = recurrence.stages(p, share.rows.size());
      for (int64_t stage = 0; stage < stages; ++stage) {
        recurrence.stage(p, packed, share, stage, owns + worker * own,
                         memory.get() + worker * common);
      }
    });
  }
}

// The gradient of the weights is made of so many sums over steps, whatever the number of threads:
// enough for a few of them, each long enough to be worth its memory.
int64_t sums(const Problem& p) {
  const int64_t size = 3 * p.hidden * (p.input + p.hidden);
  const int64_t most = std::min({p.time * p.rows / 768, (int64_t{1} << 22) / size, int64_t{8}});
  int64_t count = 1;
  while (2 * count <= most) count *= 2;
  return count;
}

// One share of `shares` of all steps: of the rows, or of the time where that would leave few rows
// side by side in memory, or unequal shares.
Steps share(const Problem& p, int64_t i, int64_t shares) {
  const bool many = p.rows >= 8 * shares, even = p.rows % shares == 0;
  return many || (even && p.time_stride == 1) ? Steps{{0, p.time}, part_of(p.rows, i, shares)}
                                              : Steps{part_of(p.time, i, shares), {0, p.rows}};
}

// The gradients of weights and inputs. A core does the sums over the rows that it has just had.
void products(const Level& level, const Backward& f, const float* packed, Team& team) {
  const int64_t of_gate = (f.input + f.hidden) * f.hidden, each = 3 * of_gate + 4 * f.hidden;
  const int64_t most = team.threads(), chunks = f.dW[0] ? sums(f) : 1;
  const int64_t parts = (most + chunks - 1) / chunks, tasks = chunks * parts;
  const int64_t scratch = f.dW[0] ? level.weights_scratch(f) : 0;
  const Floats memory = allocate(std::min(tasks, most) * scratch);
  const Floats others = allocate((chunks - 1) * each);  // The first sum stands in its place.
  const auto of_chunk = [&](int64_t chunk) {
    Backward g = f;
    float* sum = others.get() + (chunk - 1) * each;
    for (int i = 0; chunk > 0 && i < 3; ++i) g.dW[i] = sum + i * of_gate;
    for (int i = 0; chunk > 0 && i < 4; ++i) g.db[i] = sum + 3 * of_gate + i * f.hidden;
    return g;
  };
  team.run(tasks, [&](int64_t i, int64_t worker) {
    const int64_t chunk = i / parts;
    if (f.dW[0]) {
      level.weights(of_chunk(chunk), share(f, chunk, chunks), i % parts, parts,
                    memory.get() + worker * scratch);
    }
    if (f.dxs) level.inputs(f, packed, share(f, i, tasks));
  });
  if (chunks == 1) return;
  const auto add = [&](int64_t i, float* out, int64_t size, const float* first) {
    const Range mine = part_of(size, i, most);
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      const float* sum = first + (chunk - 1) * each;
      for (int64_t j = mine.from; j < mine.to; ++j) out[j] += sum[j];
    }
  };
  team.run(most, [&](int64_t i, int64_t) {
    const Backward g = of_chunk(1);
    for (int gate = 0; gate < 3; ++gate) add(i, f.dW[gate], of_gate, g.dW[gate]);
    for (int gate = 0; gate < (f.after ? 4 : 3); ++gate) add(i, f.db[gate], f.hidden, g.db[gate]);
  });
}

void run_one(const Level& level, const Forward& f, Pool& pool) {
  const int64_t panels = level.panels(f.hidden);
  const int64_t most = threads(pool, f);
  const Cut shares = cut(f, panels, most);
  Team team(pool, std::min(most, shares.rows * shares.columns));
  const Floats packed = pack(level.forward, f, team);
  recur(level.forward, f, packed.get(), panels, shares, team);
}

void run_one(const Level& level, const Backward& f, Pool& pool) {
  const int64_t panels = level.panels(f.hidden);
  Team team(pool, threads(pool, f));
  const Floats packed = pack(level.backward, f, team);
  recur(level.backward, f, packed.get(), panels, cut(f, panels, team.threads()), team);
  if (f.dW[0] || f.dxs) products(level, f, packed.get(), team);
}

// No threads beside the caller.
class Nobody : public Pool {
 public:
  int64_t threads() const override { return 1; }
  void schedule(std::function<void()>) override {}
};

// Runs each member. As many as share out evenly are one thread's each, which keeps what it works on
// in its cache. All threads share each of the others, and each that has too many weights for one.
template <typename P>
void run_members(const Level& level, const P& p, Pool& pool) {
  const int64_t most = threads(pool, p);
  const bool large = cut(p, level.panels(p.hidden), most).columns > 1;
  const int64_t whole = most > 1 && !large ? p.members / most * most : 0;
  if (whole > 0) {
    std::atomic<bool> failed{false};
    Team(pool, most).run(whole, [&](int64_t i, int64_t) {
      try {
        Nobody nobody;
        run_one(level, member(p, i), nobody);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    });
    if (failed) throw std::bad_alloc();
  }
  for (int64_t i = whole; i < p.members; ++i) run_one(level, member(p, i), pool);
}

}  // namespace

void forward(const Level& level, const Forward& f, Pool& pool) {
  for (float* results : {f.hs, f.gates[0], f.gates[1], f.gates[2], f.gates[3]}) {
    prefer_huge_pages(results, f.members * f.time * f.rows * f.hidden);
  }
  run_members(level, f, pool);
}

void backward(const Level& level, const Backward& f, Pool& pool) {
  prefer_huge_pages(f.dxs, f.members * f.time * f.rows * f.input);
  run_members(level, f, pool);
}

}  // namespace gru
