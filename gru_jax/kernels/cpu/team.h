// The threads of a pass: the caller, and those that a pool lends it.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace gru {

// Where tasks may run beside the caller. `schedule` may also run them at once, or never.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual int64_t threads() const = 0;
  virtual void schedule(std::function<void()> task) = 0;
};

// Goes through the stages of a pass, one after the other. The pool's threads are asked for once and
// stay to the end, for waking one takes longer than many a stage; who comes late joins the stage
// that is on.
class Team {
 public:
  static constexpr int kStages = 4;  // at most

  // At most `threads`, with the caller. Throws std::bad_alloc.
  Team(Pool& pool, int64_t threads);
  ~Team();
  int64_t threads() const { return threads_; }

  // Runs task(i, worker) for each i below `count` and returns when all are done. A worker, one of
  // min(count, threads), has one task at a time. In every stage a core begins with the same tasks,
  // unless another has them: what it has worked on is in its cache. The caller takes every task
  // that no other thread has begun, so a pool that is busy with other work delays nothing.
  void run(int64_t count, std::function<void(int64_t, int64_t)> task);

  // Runs task(part, stage) for all `parts` of one stage, then of the next. A thread does the same
  // part each time, and others that nobody has begun: those of threads that have not come, and, a
  // little later, of those that have gone to sleep.
  void relay(int64_t parts, int64_t stages, const std::function<void(int64_t, int64_t)>& task);

 private:
  struct Shared;
  const int64_t threads_;
  int stages_ = 0;
  std::shared_ptr<Shared> shared_;  // with threads that come when all is done and the caller gone
};

}  // namespace gru
