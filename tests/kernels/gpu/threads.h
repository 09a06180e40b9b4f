// A cluster's threads as fibers on one thread of a CPU.
//
// Each launch draws at random: which fiber runs next, how far a warp or block may run ahead, and
// whether asynchronous copies happen at once or at the last permitted moment. A kernel that relies
// on an order that its barriers do not enforce gives different bits. Shared memory starts out full
// of NaN and ends at a guard page.

#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

namespace gru::gpu {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "the emulated GPU: %s\n", what);
  std::abort();
}

// Memory followed by a guard page.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_((bytes + kPage - 1) / kPage * kPage + kPage) {
    memory_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory_ == MAP_FAILED) fail("no memory");
    mprotect(memory_ + bytes_ - kPage, kPage, PROT_NONE);
    begin_ = memory_ + bytes_ - kPage - (bytes + 15) / 16 * 16;
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(memory_, bytes_); }

  char* begin() const { return begin_; }

 private:
  static constexpr size_t kPage = 4096;
  size_t bytes_;
  char *memory_, *begin_;
};

struct Barrier {
  int size = 0, arrived = 0, generation = 0;
};

struct Warp {
  float values[2][32];
  Barrier barrier{32};
};

class Cluster;

struct Fiber {
  int thread = 0, block = 0, rank = 0;
  Cluster* cluster = nullptr;
  Warp* warp = nullptr;
  bool copies_late = false;

  void wait_for(Barrier& barrier);

  float exchange(float x, int mask) {
    float* values = warp->values[turn_ ^= 1];  // other lanes may still read the last values
    values[thread % 32] = x;
    wait_for(warp->barrier);
    return values[thread % 32 ^ mask];
  }

  void copy_later(void* to, const void* from, int bytes) {
    const auto places = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
    if (places % bytes) fail("an asynchronous copy is not aligned");
    copies_.push_back({to, from, bytes, group_});
    if (!copies_late) make_copies(group_);
  }

  void end_group() { ++group_; }

  void wait_for_copies(int pending) { make_copies(group_ - 1 - pending); }

 private:
  friend class Cluster;
  struct Copy {
    void* to;
    const void* from;
    int bytes, group;
  };

  void make_copies(int last_group) {
    for (; !copies_.empty() && copies_.front().group <= last_group; copies_.pop_front()) {
      memcpy(copies_.front().to, copies_.front().from, copies_.front().bytes);
    }
  }

  std::deque<Copy> copies_;
  int group_ = 0, turn_ = 0, generation_ = 0;
  Barrier* waits_ = nullptr;
  bool started_ = false, done_ = false;
  jmp_buf here_;
  ucontext_t first_;
};

inline Fiber*& running() {
  static Fiber* fiber = nullptr;
  return fiber;
}

inline Fiber& current() { return *running(); }

class Cluster {
 public:
  Cluster(int blocks, int threads, size_t shared_bytes)
      : threads_(threads), fibers_(blocks * threads), stacks_(fibers_.size() * kStack) {
    warps_.resize(blocks * threads / 32);
    for (int i = 0; i < blocks; ++i) {
      blocks_.push_back({threads});
      memories_.emplace_back(std::make_unique<Guarded>(shared_bytes));
    }
    whole_ = {blocks * threads};
    shared_floats_ = shared_bytes / sizeof(float);
  }

  float* shared(int rank) { return reinterpret_cast<float*>(memories_[rank]->begin()); }
  Barrier& of_block(int rank) { return blocks_[rank]; }
  Barrier& whole() { return whole_; }

  // Runs the blocks from `first` on, each thread as a call of the kernel.
  void run(int first, const std::function<void()>& kernel, std::mt19937& random) {
    kernel_ = &kernel;
    for (size_t rank = 0; rank < memories_.size(); ++rank) {
      std::fill_n(shared(rank), shared_floats_, std::numeric_limits<float>::quiet_NaN());
    }
    const bool late = random() % 2;
    for (size_t i = 0; i < fibers_.size(); ++i) {
      Fiber& fiber = fibers_[i];
      fiber = Fiber();
      fiber.thread = i % threads_, fiber.rank = i / threads_, fiber.block = first + fiber.rank;
      fiber.cluster = this, fiber.warp = &warps_[i / 32], fiber.copies_late = late;
    }
    // Groups are warps, blocks or all threads. Each runs as far as it can before the next.
    const size_t sizes[] = {32, size_t(threads_), fibers_.size()}, size = sizes[random() % 3];
    std::vector<std::vector<Fiber*>> groups(fibers_.size() / size);
    for (size_t i = 0; i < fibers_.size(); ++i) groups[i / size].push_back(&fibers_[i]);
    while (!groups.empty()) {
      std::shuffle(groups.begin(), groups.end(), random);
      bool moved = false;
      for (std::vector<Fiber*>& group : groups) {
        while (advance(group, random)) moved = true;
      }
      if (!moved) fail("all threads wait for others");
      std::erase_if(groups, [](const auto& group) { return group.empty(); });
    }
  }

 private:
  friend struct Fiber;
  static constexpr size_t kStack = 1 << 16;

  // Runs each thread of the group that can run; returns whether any did.
  bool advance(std::vector<Fiber*>& group, std::mt19937& random) {
    bool moved = false;
    std::shuffle(group.begin(), group.end(), random);
    for (Fiber* fiber : group) {
      if (fiber->waits_ && fiber->waits_->generation == fiber->generation_) continue;
      resume(fiber);
      moved = true;
    }
    std::erase_if(group, [](Fiber* fiber) { return fiber->done_; });
    return moved;
  }

  void resume(Fiber* fiber) {
    running() = fiber;
    if (_setjmp(scheduler_)) return;
    if (fiber->started_) _longjmp(fiber->here_, 1);
    fiber->started_ = true;
    getcontext(&fiber->first_);
    fiber->first_.uc_stack.ss_sp = stacks_.begin() + (fiber - fibers_.data()) * kStack;
    fiber->first_.uc_stack.ss_size = kStack;
    makecontext(&fiber->first_, &Cluster::begin, 0);
    setcontext(&fiber->first_);
  }

  static void begin() {
    Cluster& cluster = *current().cluster;
    (*cluster.kernel_)();
    current().done_ = true;
    _longjmp(cluster.scheduler_, 1);
  }

  int threads_;
  size_t shared_floats_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<Barrier> blocks_;
  std::vector<std::unique_ptr<Guarded>> memories_;
  Barrier whole_;
  Guarded stacks_;
  const std::function<void()>* kernel_ = nullptr;
  jmp_buf scheduler_;
};

inline void Fiber::wait_for(Barrier& barrier) {
  if (++barrier.arrived == barrier.size) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  waits_ = &barrier;
  generation_ = barrier.generation;
  if (!_setjmp(here_)) _longjmp(cluster->scheduler_, 1);
  waits_ = nullptr;
}

}  // namespace gru::gpu
