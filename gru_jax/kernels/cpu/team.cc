#include "team.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <thread>
#include <utility>
#include <vector>

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

// The core that this thread is on now: where numbers are is where to work on them.
int64_t core() {
#if defined(__linux__)
  return std::max(0, sched_getcpu());
#else
  return 0;
#endif
}

// Moves this thread off a core that is taken: the system puts a thread that is woken on its waker's
// core at times, and leaves it there for milliseconds, though another is idle.
void step_aside([[maybe_unused]] int64_t taken) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (core() != taken || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(taken, &others);
  sched_setaffinity(0, sizeof others, &others);  // in vain if there are none
  sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

using Taken = std::vector<std::atomic<bool>>;

// Takes the first that nobody has, from `first` on and round; returns how many there are if all are
// taken.
int64_t take(Taken& all, int64_t first) {
  const int64_t count = all.size();
  for (int64_t k = 0; k < count; ++k) {
    const int64_t i = (first + k) % count;
    if (!all[i].load() && !all[i].exchange(true)) return i;
  }
  return count;
}

struct Stage {
  std::function<void(int64_t, int64_t)> task;
  Taken workers, tasks;
  std::atomic<int64_t> done{0};

  // A core is the same worker in every stage, unless two cores' numbers come to the same.
  int64_t enlist() { return take(workers, core() % workers.size()); }

  // A worker begins with the same share of the tasks in every stage.
  void work(int64_t worker) {
    const int64_t crew = workers.size(), count = tasks.size();
    int64_t i = worker * count / crew;
    while (worker < crew && (i = take(tasks, i)) < count) {
      task(i, worker);
      if (done.fetch_add(1) + 1 == count) done.notify_all();
    }
  }
};

// Looks before a part is taken from the thread that has it.
constexpr int kPatience = 100;

// A part of every stage: how many have been begun, and how many are done. Those who wait look at
// the second alone, so the first stays in the cache of whoever begins.
struct Part {
  alignas(128) std::atomic<int64_t> begun{0};
  alignas(128) std::atomic<int64_t> done{0};
  std::atomic<bool> attended{false};  // by its thread, the last time

  bool begin(int64_t stage) {
    return begun.load() == stage && begun.compare_exchange_strong(stage, stage + 1);
  }
};

}  // namespace

struct Team::Shared {
  static constexpr int kOver = kStages + 1;

  const std::thread::id caller = std::this_thread::get_id();
  std::array<Stage, kStages> stages;
  std::atomic<int> begun{0};  // stages, or kOver
  std::atomic<int64_t> callers_core{core()};

  void begin(int count) {
    begun.store(count);
    begun.notify_all();
  }

  void help() {
    if (std::this_thread::get_id() == caller) return;  // A full pool runs it at once.
    step_aside(callers_core);
    for (int i = 0; wait_for(begun, i + 1) != kOver; ++i) {
      step_aside(callers_core);
      stages[i].work(stages[i].enlist());
    }
  }
};

Team::Team(Pool& pool, int64_t threads) : threads_(threads), shared_(std::make_shared<Shared>()) {
  try {
    for (int64_t i = 1; i < threads; ++i) {
      pool.schedule([shared = shared_] { shared->help(); });
    }
  } catch (const std::bad_alloc&) {
    // Those that have been asked do it with the caller.
  }
  if (threads > 1) std::this_thread::yield();  // Who has been woken on this very core steps aside.
}

Team::~Team() { shared_->begin(Shared::kOver); }

void Team::run(int64_t count, std::function<void(int64_t, int64_t)> task) {
  Stage& stage = shared_->stages[stages_++];
  stage.task = std::move(task);
  stage.workers = Taken(std::min(count, threads_));
  stage.tasks = Taken(count);
  const int64_t worker = stage.enlist();
  shared_->callers_core = core();
  shared_->begin(stages_);
  stage.work(worker);
  wait_for(stage.done, count);
}

void Team::relay(int64_t parts, int64_t stages, const std::function<void(int64_t, int64_t)>& task) {
  std::vector<Part> all(parts);
  run(parts, [&](int64_t own, int64_t) {
    // The first stage of which not all is known to be done.
    int64_t stage = stages;
    for (const Part& part : all) stage = std::min(stage, part.done.load());
    for (; stage < stages; ++stage) {
      const auto attempt = [&](int64_t i) {
        if (!all[i].begin(stage)) return;
        task(i, stage);
        all[i].attended.store(i == own, std::memory_order_relaxed);
        all[i].done.store(stage + 1, std::memory_order_release);
      };
      attempt(own);
      for (int64_t i = 0; i < parts; ++i) {
        for (int look = 0; all[i].done.load(std::memory_order_acquire) <= stage; ++look) {
          if (look >= kPatience || !all[i].attended.load(std::memory_order_relaxed)) attempt(i);
          if (look < 10 * kPatience) {
            pause();
          } else {
            std::this_thread::yield();  // It may wait for this very core.
          }
        }
      }
    }
  });
}

}  // namespace gru
