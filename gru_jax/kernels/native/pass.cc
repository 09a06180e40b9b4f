#include "pass.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

namespace gru {
namespace {

using Floats = std::unique_ptr<float[], void (*)(float*)>;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

Floats allocate(int64_t count) {
  constexpr std::align_val_t line{64};
  return Floats(new (line) float[count],
                [](float* p) { ::operator delete[](p, std::align_val_t{64}); });
}

// Below this many operations a thread is not worth waking, nor below this many packed floats.
constexpr double kWorthwhile = 1e6;
constexpr int64_t kPacked = 1 << 17;

// Looks before the caller goes to sleep: waking up takes longer than most of these waits.
constexpr int kLooks = 20000;

int64_t parts(const Pool& pool, double operations) {
  const double most = std::max(1.0, operations / kWorthwhile);
  return std::max<int64_t>(1, std::min<double>(pool.threads(), most));
}

double operations(const Problem& p) {
  return 6.0 * p.time * p.rows * p.hidden * (p.input + p.hidden);
}

// Rows of one task: an equal share, but not more than have their gates in the cache.
int64_t row_tasks(const Problem& p, int64_t threads) {
  const int64_t most = std::max<int64_t>(48, (1 << 16) / (3 * p.hidden));
  const int64_t needed = (p.rows + most - 1) / most;
  return std::min(p.rows, (needed + threads - 1) / threads * threads);
}

template <typename P>
Floats pack(const P& p, Pool& pool, int64_t threads, int64_t (*floats)(const Problem&),
            void (*part)(const P&, int64_t, int64_t, float*)) {
  const int64_t count = floats(p), parts = count < kPacked ? 1 : threads;
  Floats packed = allocate(count);
  run(pool, parts, parts, [&](int64_t i, int64_t) { part(p, i, parts, packed.get()); });
  return packed;
}

void in_rows(const Problem& p, Pool& pool, int64_t threads, int64_t (*scratch)(const Problem&, int64_t),
             const std::function<void(int64_t, int64_t, float*)>& body) {
  const int64_t tasks = row_tasks(p, threads);
  // Fewer rows may need more, for more steps at once.
  const int64_t fewest = p.rows / tasks;
  const int64_t each = std::max(scratch(p, fewest), scratch(p, (p.rows + tasks - 1) / tasks));
  const Floats memory = allocate(std::min(tasks, threads) * each);
  run(pool, threads, tasks, [&](int64_t i, int64_t worker) {
    body(p.rows * i / tasks, p.rows * (i + 1) / tasks, memory.get() + worker * each);
  });
}

}  // namespace

void run(Pool& pool, int64_t threads, int64_t count,
         const std::function<void(int64_t, int64_t)>& task) {
  // Shared with whatever the pool starts late, when all is done and the caller is gone.
  struct Shared {
    std::atomic<int64_t> next{0}, done{0}, workers{0};
    int64_t count;
    const std::function<void(int64_t, int64_t)>* task;
    void work() {
      int64_t i = next.fetch_add(1);
      if (i >= count) return;
      for (const int64_t worker = workers.fetch_add(1); i < count; i = next.fetch_add(1)) {
        (*task)(i, worker);
        if (done.fetch_add(1) + 1 == count) done.notify_all();
      }
    }
  };
  if (count == 0) return;
  const auto shared = std::make_shared<Shared>();
  shared->count = count;
  shared->task = &task;
  const int64_t helpers = std::min(count, threads) - 1;
  try {
    for (int64_t i = 0; i < helpers; ++i) {
      pool.schedule([shared] { shared->work(); });
    }
  } catch (const std::bad_alloc&) {
    // Those that have begun use the caller's memory: it does the rest with them.
  }
  shared->work();
  for (int look = 0; look < kLooks && shared->done.load() < count; ++look) pause();
  for (int64_t done; (done = shared->done.load()) < count;) shared->done.wait(done);
}

void forward(const Level& level, const Forward& f, Pool& pool) {
  const int64_t threads = parts(pool, operations(f));
  const Floats packed = pack(f, pool, threads, level.forward_packed, level.pack_forward);
  in_rows(f, pool, threads, level.forward_scratch, [&](int64_t from, int64_t to, float* scratch) {
    level.forward(f, packed.get(), from, to, scratch);
  });
}

void backward(const Level& level, const Backward& f, Pool& pool) {
  const int64_t threads = parts(pool, operations(f)), steps = f.time * f.rows;
  const Floats packed = pack(f, pool, threads, level.backward_packed, level.pack_backward);
  in_rows(f, pool, threads, level.backward_scratch, [&](int64_t from, int64_t to, float* scratch) {
    level.backward(f, packed.get(), from, to, scratch);
  });
  const int64_t weights = f.dW[0] ? threads : 0, inputs = f.dxs ? threads : 0;
  const int64_t each = level.weights_scratch(f);
  const Floats memory = allocate(weights * each);
  run(pool, threads, weights + inputs, [&](int64_t i, int64_t) {
    if (i < weights) {
      level.weights(f, i, weights, memory.get() + i * each);
    } else {
      i -= weights;
      level.inputs(f, packed.get(), steps * i / inputs, steps * (i + 1) / inputs);
    }
  });
}

}  // namespace gru
