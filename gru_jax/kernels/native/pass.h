// The two passes: how the work is cut into tasks, and who runs them.

#pragma once

#include <cstdint>
#include <functional>

#include "kernel.h"

namespace gru {

// Where tasks may run beside the caller. `schedule` may also run them at once, or never.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual int64_t threads() const = 0;
  virtual void schedule(std::function<void()> task) = 0;
};

// Runs task(i, worker) for each i below `count` and returns when all are done. A worker, one of
// min(count, threads), has one task at a time. The caller takes every task that no other thread has
// begun, so a pool that is busy with other work delays nothing.
void run(Pool& pool, int64_t threads, int64_t count,
         const std::function<void(int64_t, int64_t)>& task);

// Both throw std::bad_alloc.
void forward(const Level& level, const Forward& f, Pool& pool);
void backward(const Level& level, const Backward& f, Pool& pool);

}  // namespace gru
