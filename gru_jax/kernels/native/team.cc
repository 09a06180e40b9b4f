#include "team.h"

#include <array>
#include <atomic>
#include <new>
#include <thread>
#include <utility>

namespace gru {
namespace {

// Looks before a thread goes to sleep: waking up takes longer than most waits.
constexpr int kLooks = 20000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` has reached `least`.
template <typename T>
T wait_for(const std::atomic<T>& value, T least) {
  T seen = value.load();
  for (int look = 0; seen < least && look < kLooks; ++look) pause(), seen = value.load();
  for (; seen < least; seen = value.load()) value.wait(seen);
  return seen;
}

struct Stage {
  std::function<void(int64_t, int64_t)> task;
  int64_t count = 0;
  std::atomic<int64_t> next{0}, done{0}, workers{0};

  void work() {
    int64_t i = next.fetch_add(1);
    if (i >= count) return;
    for (const int64_t worker = workers.fetch_add(1); i < count; i = next.fetch_add(1)) {
      task(i, worker);
      if (done.fetch_add(1) + 1 == count) done.notify_all();
    }
  }
};

}  // namespace

struct Team::Shared {
  static constexpr int kOver = kStages + 1;

  const std::thread::id caller = std::this_thread::get_id();
  std::array<Stage, kStages> stages;
  std::atomic<int> begun{0};  // stages, or kOver

  void begin(int count) {
    begun.store(count);
    begun.notify_all();
  }

  void help() {
    if (std::this_thread::get_id() == caller) return;  // A full pool runs it at once.
    for (int i = 0; wait_for(begun, i + 1) != kOver; ++i) stages[i].work();
  }
};

Team::Team(Pool& pool, int64_t threads)
    : threads_(threads), shared_(std::make_shared<Shared>()) {
  try {
    for (int64_t i = 1; i < threads; ++i) {
      pool.schedule([shared = shared_] { shared->help(); });
    }
  } catch (const std::bad_alloc&) {
    // Those that have been asked do it with the caller.
  }
}

Team::~Team() { shared_->begin(Shared::kOver); }

void Team::run(int64_t count, std::function<void(int64_t, int64_t)> task) {
  Stage& stage = shared_->stages[stages_++];
  stage.task = std::move(task);
  stage.count = count;
  shared_->begin(stages_);
  stage.work();
  wait_for(stage.done, count);
}

}  // namespace gru
