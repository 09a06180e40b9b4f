// Checks the kernel without Python: every instruction set that runs here, against plain loops in
// float64, on sizes with every kind of tail, one problem or several at once, with all arrays between
// guard pages.
//
//   check [cases] [seed]
//
// Nothing may be read or written outside an array (a guard page ends the program), results must
// not depend on threads or on how busy they are, to the bit, and a pass that is refused memory must
// throw, whichever of its allocations that is, or do without.

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "levels.h"
#include "pass.h"
#include "team.h"

// Allocations until one is refused; below zero none is.
static std::atomic<long> granted{-1};

void* operator new(size_t bytes, std::align_val_t alignment) {
  const size_t line = std::max(size_t(alignment), sizeof(void*));
  const bool refused = granted >= 0 && granted.fetch_sub(1) == 0;
  void* memory = refused ? nullptr : aligned_alloc(line, (bytes / line + 1) * line);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t bytes, std::align_val_t a) { return operator new(bytes, a); }
void* operator new(size_t bytes) { return operator new(bytes, std::align_val_t(16)); }
void* operator new[](size_t bytes) { return operator new(bytes); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { free(memory); }

namespace {

// Threads that begin a task as soon as they can; none of them: every task stays with the caller. A
// full pool runs a task in the thread that schedules it.
class Threads : public gru::Pool {
 public:
  Threads(int64_t claimed, int64_t real, bool full = false) : claimed_(claimed), full_(full) {
    for (int64_t i = 0; i < real; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Threads() override {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  int64_t threads() const override { return claimed_; }
  void schedule(std::function<void()> task) override {
    if (full_) return task();
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }
  const int64_t claimed_;
  const bool full_;
  bool over_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> workers_;
};

// An array that ends, or begins, where memory does.
template <typename T>
class Guarded {
 public:
  Guarded() = default;
  Guarded(size_t count, bool at_end) : count_(count) {
    const size_t page = sysconf(_SC_PAGESIZE),
                 inside = (count * sizeof(T) + page - 1) / page * page;
    bytes_ = inside + 2 * page;
    memory_ = static_cast<char*>(
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory_, page, PROT_NONE);
    mprotect(memory_ + page + inside, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(memory_ + page + (at_end ? inside - count * sizeof(T) : 0));
  }
  Guarded& operator=(Guarded&& other) noexcept {
    std::swap(memory_, other.memory_), std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_), std::swap(count_, other.count_);
    return *this;
  }
  ~Guarded() {
    if (memory_) munmap(memory_, bytes_);
  }
  T* data() const { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  char* memory_ = nullptr;
  size_t bytes_ = 0, count_ = 0;
  T* data_ = nullptr;
};

using Array = Guarded<float>;
using Doubles = std::vector<double>;

struct Case {
  int64_t members, T, B, I, H;
  bool reverse, after, time_major, padded, reset, in_place, at_end;
  float clip;
  std::string name() const {
    char text[160];
    snprintf(text, sizeof text, "members %ld T %ld B %ld I %ld H %ld%s%s%s%s%s%s clip %g",
             long(members), long(T), long(B), long(I), long(H), reverse ? " reverse" : "",
             after ? " after" : " before", time_major ? " time-major" : " batch-major",
             padded ? " padded" : "", reset ? " resets" : "", in_place ? " in place" : "", clip);
    return text;
  }
};

// Everything that goes in and comes out of both passes, of one member or of several.
struct Data {
  Array xs, W[3], b[4], h0, h_reset, hs, gates[4], dhs, da[4], dh0, dh_reset, dxs, dW[3], db[4];
  Guarded<uint8_t> valid, resets;

  Data(const Case& c, std::mt19937& random) {
    const auto make = [&](int64_t count) { return Array(count, c.at_end); };
    xs = make(c.T * c.B * c.I), dxs = make(c.T * c.B * c.I), h0 = make(c.B * c.H);
    h_reset = make(c.B * c.H), dh0 = make(c.B * c.H), dh_reset = make(c.B * c.H);
    hs = make(c.T * c.B * c.H), dhs = make(c.T * c.B * c.H);
    for (int i = 0; i < 4; ++i) {
      gates[i] = make(c.T * c.B * c.H), da[i] = make(c.T * c.B * c.H);
      b[i] = make(c.H), db[i] = make(c.H);
      if (i < 3) W[i] = make((c.I + c.H) * c.H), dW[i] = make((c.I + c.H) * c.H);
    }
    valid = {size_t(c.T * c.B), c.at_end}, resets = {size_t(c.T * c.B), c.at_end};
    std::normal_distribution<float> normal;
    const float scale = 1 / std::sqrt(float(c.I + c.H));
    auto fill = [&](const Array& a, float by) {
      for (size_t i = 0; i < a.size(); ++i) a[i] = by * normal(random);
    };
    fill(xs, 1), fill(h0, 1), fill(h_reset, 1), fill(dhs, 1);
    for (auto& a : W) fill(a, scale);
    for (auto& a : b) fill(a, 0.3f);
    for (int64_t i = 0; i < c.T * c.B; ++i)
      valid[i] = random() % 4 != 0, resets[i] = random() % 4 == 0;
  }

  // The arrays of the members, one after the other.
  Data(const Case& c, std::deque<Data>& members) {
    const auto join = [&](const auto& each) {
      auto& whole = each(*this);
      const auto& first = each(members[0]);
      whole = {first.size() * members.size(), c.at_end};
      for (size_t i = 0; i < whole.size(); ++i) {
        whole[i] = each(members[i / first.size()])[i % first.size()];
      }
    };
    for (size_t i = 0; i < members[0].arrays().size(); ++i) {
      join([&](Data& data) -> Array& { return *data.arrays()[i]; });
    }
    join([](Data& data) -> Guarded<uint8_t>& { return data.valid; });
    join([](Data& data) -> Guarded<uint8_t>& { return data.resets; });
  }

  std::vector<Array*> arrays() {
    std::vector<Array*> all = {&xs, &h0, &h_reset, &hs, &dhs, &dh0, &dh_reset, &dxs};
    for (int i = 0; i < 4; ++i) {
      all.insert(all.end(), {&b[i], &gates[i], &da[i], &db[i]});
      if (i < 3) all.insert(all.end(), {&W[i], &dW[i]});
    }
    return all;
  }

  template <typename P>
  P problem(const Case& c) const {
    P p{};
    p.members = c.members, p.time = c.T, p.rows = c.B, p.input = c.I, p.hidden = c.H;
    p.time_stride = c.time_major ? c.B : 1, p.row_stride = c.time_major ? 1 : c.T;
    p.reverse = c.reverse, p.after = c.after, p.clip = c.clip;
    p.xs = xs.data(), p.h0 = h0.data();
    for (int i = 0; i < 3; ++i) p.W[i] = W[i].data();
    p.valid = c.padded ? valid.data() : nullptr;
    p.resets = c.reset ? resets.data() : nullptr;
    p.h_reset = c.reset ? h_reset.data() : nullptr;
    return p;
  }

  void run(const Case& c, const gru::Level& level, gru::Pool& pool) const {
    auto f = problem<gru::Forward>(c);
    for (int i = 0; i < 3; ++i) f.b[i] = b[i].data();
    f.b_h = c.after ? b[3].data() : nullptr;
    f.hs = hs.data();
    for (int i = 0; i < (c.after ? 4 : 3); ++i) f.gates[i] = gates[i].data();
    gru::forward(level, f, pool);
    // As XLA has it: where the gates are not needed any more, their gradients replace them.
    for (int i = c.after ? 0 : 1; c.in_place && i < (c.after ? 4 : 3); ++i) {
      memcpy(da[i].data(), gates[i].data(), 4 * gates[i].size());
    }
    auto g = problem<gru::Backward>(c);
    g.hs = hs.data(), g.dhs = dhs.data(), g.dh0 = dh0.data(), g.dxs = c.I ? dxs.data() : nullptr;
    g.dh_reset = c.reset ? dh_reset.data() : nullptr;
    for (int i = 0; i < (c.after ? 4 : 3); ++i) {
      g.gates[i] = (c.in_place && (c.after || i > 0) ? da : gates)[i].data(),
      g.da[i] = da[i].data(), g.db[i] = db[i].data();
      if (i < 3) g.dW[i] = dW[i].data();
    }
    gru::backward(level, g, pool);
  }

  std::vector<std::pair<const char*, const Array*>> results(const Case& c) const {
    std::vector<std::pair<const char*, const Array*>> all = {
        {"hs", &hs},      {"r", &gates[0]}, {"z", &gates[1]}, {"c", &gates[2]}, {"da_r", &da[0]},
        {"da_z", &da[1]}, {"da_c", &da[2]}, {"dh0", &dh0},    {"dxs", &dxs},    {"dW_r", &dW[0]},
        {"dW_z", &dW[1]}, {"dW_c", &dW[2]}, {"db_r", &db[0]}, {"db_z", &db[1]}, {"db_c", &db[2]}};
    if (c.after) all.insert(all.end(), {{"q", &gates[3]}, {"dq", &da[3]}, {"db_h", &db[3]}});
    if (c.reset) all.push_back({"dh_reset", &dh_reset});
    return all;
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The equations, one number after the other; in the order of Data::results. And how near to the
// bound a state comes: nearer than rounding, and the kernel may clip what is not clipped here.
std::pair<std::vector<Doubles>, double> plain(const Case& c, const Data& d) {
  const int64_t T = c.T, B = c.B, I = c.I, H = c.H, N = T * B;
  Doubles hs(N * H), r(N * H), z(N * H), cc(N * H), q(N * H), da_r(N * H), da_z(N * H), da_c(N * H),
      dq(N * H), dh0(B * H), dh_reset(B * H), dxs(N * I), dW[3], db[4];
  for (auto& a : dW) a.resize((I + H) * H);
  for (auto& a : db) a.resize(H);
  auto at = [&](int64_t t, int64_t b) { return c.time_major ? t * B + b : b * T + t; };
  auto W = [&](int g, int64_t i, int64_t j) { return double(d.W[g][i * H + j]); };
  std::vector<Doubles> before(N, Doubles(H));
  std::vector<char> clipped(N * H);
  double margin = INFINITY;
  for (int64_t b = 0; b < B; ++b) {
    Doubles h(d.h0.data() + b * H, d.h0.data() + (b + 1) * H);
    for (int64_t k = 0; k < T; ++k) {
      const int64_t n = at(c.reverse ? T - 1 - k : k, b);
      if (c.reset && d.resets[n])
        h.assign(d.h_reset.data() + b * H, d.h_reset.data() + (b + 1) * H);
      before[n] = h;
      for (int64_t j = 0; j < H; ++j) {
        double a_r = d.b[0][j], a_z = d.b[1][j], u = c.after ? d.b[3][j] : 0;
        for (int64_t i = 0; i < I; ++i)
          a_r += d.xs[n * I + i] * W(0, i, j), a_z += d.xs[n * I + i] * W(1, i, j);
        for (int64_t i = 0; i < H; ++i)
          a_r += h[i] * W(0, I + i, j), a_z += h[i] * W(1, I + i, j), u += h[i] * W(2, I + i, j);
        r[n * H + j] = sigmoid(a_r), z[n * H + j] = sigmoid(a_z), q[n * H + j] = u;
      }
      Doubles next(H);
      for (int64_t j = 0; j < H; ++j) {
        double a = d.b[2][j];
        for (int64_t i = 0; i < I; ++i) a += d.xs[n * I + i] * W(2, i, j);
        if (c.after) a += r[n * H + j] * q[n * H + j];
        for (int64_t i = 0; i < H && !c.after; ++i) a += r[n * H + i] * h[i] * W(2, I + i, j);
        cc[n * H + j] = std::tanh(a);
        next[j] = (1 - z[n * H + j]) * h[j] + z[n * H + j] * cc[n * H + j];
        if (c.padded && !d.valid[n]) continue;
        const double size = std::abs(next[j]);
        margin = std::min(margin, std::abs(size - c.clip)), clipped[n * H + j] = size > c.clip;
        if (clipped[n * H + j]) next[j] = std::copysign(c.clip, next[j]);
      }
      if (!c.padded || d.valid[n]) h = next;
      std::copy(h.begin(), h.end(), hs.begin() + n * H);
    }
  }
  for (int64_t b = 0; b < B; ++b) {
    Doubles l(H);
    for (int64_t k = T - 1; k >= 0; --k) {
      const int64_t n = at(c.reverse ? T - 1 - k : k, b);
      for (int64_t j = 0; j < H; ++j) l[j] = clipped[n * H + j] ? 0 : l[j] + d.dhs[n * H + j];
      const Doubles& h = before[n];
      if (!c.padded || d.valid[n]) {
        Doubles down(H), d_rh(H);
        for (int64_t j = 0; j < H; ++j) {
          const int64_t m = n * H + j;
          da_c[m] = l[j] * z[m] * (1 - cc[m] * cc[m]);
          da_z[m] = l[j] * (cc[m] - h[j]) * z[m] * (1 - z[m]);
          dq[m] = da_c[m] * r[m];
          down[j] = l[j] * (1 - z[m]);
        }
        for (int64_t i = 0; i < H; ++i) {
          for (int64_t j = 0; j < H; ++j) d_rh[i] += da_c[n * H + j] * W(2, I + i, j);
        }
        for (int64_t j = 0; j < H; ++j) {
          const int64_t m = n * H + j;
          da_r[m] = (c.after ? da_c[m] * q[m] : d_rh[j] * h[j]) * r[m] * (1 - r[m]);
        }
        for (int64_t i = 0; i < H; ++i) {
          if (!c.after) down[i] += d_rh[i] * r[n * H + i];
          for (int64_t j = 0; j < H; ++j) {
            down[i] += da_r[n * H + j] * W(0, I + i, j) + da_z[n * H + j] * W(1, I + i, j);
            if (c.after) down[i] += dq[n * H + j] * W(2, I + i, j);
          }
        }
        l = down;
      }
      if (c.reset && d.resets[n]) {
        for (int64_t j = 0; j < H; ++j) dh_reset[b * H + j] += l[j], l[j] = 0;
      }
      const Doubles* da[] = {&da_r, &da_z, &da_c};
      for (int64_t j = 0; j < H; ++j) {
        for (int g = 0; g < 3; ++g) {
          const double a = (*da[g])[n * H + j], u = g == 2 && c.after ? dq[n * H + j] : a;
          db[g][j] += a;
          for (int64_t i = 0; i < I; ++i) {
            dW[g][i * H + j] += d.xs[n * I + i] * a;
            dxs[n * I + i] += a * W(g, i, j);
          }
          for (int64_t i = 0; i < H; ++i) {
            dW[g][(I + i) * H + j] += (g == 2 && !c.after ? r[n * H + i] * h[i] : h[i]) * u;
          }
        }
        db[3][j] += dq[n * H + j];
      }
    }
    std::copy(l.begin(), l.end(), dh0.begin() + b * H);
  }
  std::vector<Doubles> all = {hs,  r,     z,     cc,    da_r,  da_z,  da_c, dh0,
                              dxs, dW[0], dW[1], dW[2], db[0], db[1], db[2]};
  if (c.after) all.insert(all.end(), {q, dq, db[3]});
  if (c.reset) all.push_back(dh_reset);
  return {all, margin};
}

// The same of all members, one after the other.
std::pair<std::vector<Doubles>, double> plain(const Case& c, const std::deque<Data>& members) {
  auto [all, margin] = plain(c, members[0]);
  for (size_t i = 1; i < members.size(); ++i) {
    const auto [each, near] = plain(c, members[i]);
    for (size_t j = 0; j < all.size(); ++j) {
      all[j].insert(all[j].end(), each[j].begin(), each[j].end());
    }
    margin = std::min(margin, near);
  }
  return {all, margin};
}

// Returns the largest difference, of numbers of which the largest is made 1 if it is above that.
double check(Case c, bool starved, std::mt19937& random) {
  std::deque<Data> members;
  for (int64_t i = 0; i < c.members; ++i) members.emplace_back(c, random);
  const Data data(c, members);
  auto [wanted, margin] = plain(c, members);
  for (; margin < 2e-6; std::tie(wanted, margin) = plain(c, members)) c.clip *= 1.01f;
  double worst = 0;
  Threads alone(1, 0), pair(2, 1), many(16, 3), busy(5, 0), full(5, 0, true);
  for (const gru::Level* level : gru::levels()) {
    int thrown = 0;
    for (long n = 0; starved; ++n) {
      granted = n;
      try {
        data.run(c, *level, many);
      } catch (const std::bad_alloc&) {
        ++thrown;
      }
      if (granted.exchange(-1) >= 0) break;  // It needed no more than these.
    }
    if (starved && thrown < 4) throw std::runtime_error("a pass went on without memory");
    std::vector<std::vector<float>> first;
    for (Threads* pool : {&alone, &pair, &many, &busy, &full}) {
      for (const auto& [name, array] : data.results(c)) {
        std::fill(array->data(), array->data() + array->size(), NAN);
      }
      data.run(c, *level, *pool);
      const auto got = data.results(c);
      for (size_t i = 0; i < got.size(); ++i) {
        const Array& array = *got[i].second;
        double largest = 1;
        for (double x : wanted[i]) largest = std::max(largest, std::abs(x));
        if (pool == &alone) first.emplace_back(array.data(), array.data() + array.size());
        if (!first[i].empty() && memcmp(first[i].data(), array.data(), 4 * array.size())) {
          throw std::runtime_error(c.name() + ": " + got[i].first + " depends on the threads");
        }
        for (size_t j = 0; j < array.size(); ++j) {
          const double off = std::abs(array[j] - wanted[i][j]) / largest;
          if (!(off < 2e-5)) {  // and so with NaN
            throw std::runtime_error(c.name() + ": " + got[i].first + " is off by " +
                                     std::to_string(off) + " on " + level->name);
          }
          worst = std::max(worst, off);
        }
      }
    }
  }
  return worst;
}

// Sizes that a case is drawn from: the least, and the most.
struct Kind {
  int64_t T[2], B[2], I[2], H[2];
};
const Kind kSmall = {{1, 6}, {1, 15}, {0, 70}, {1, 70}};
const Kind kKinds[] = {
    {{11, 70}, {1, 4}, {0, 70}, {121, 190}},  // a few sequences, whose columns are shared
    {{5, 12}, {1, 12}, {0, 20}, {210, 310}},  // the same, with more weights and sequences
    {{1, 60}, {1, 70}, {0, 70}, {1, 70}},  // several threads, and blocks of steps
    {{4, 24}, {1, 70}, {256, 256}, {61, 130}},  // with steps in fours, inputs whole pages apart
    {{4, 24}, {3, 8}, {256, 256}, {106, 145}},  // the same, and shared columns
    {{1601, 1660}, {1, 3}, {0, 9}, {1, 20}},  // the weights' gradients are several sums
    {{101, 160}, {61, 130}, {0, 9}, {1, 20}},  // fewer features than there are threads
    {{40, 40}, {6, 8}, {64, 123}, {106, 127}},  // shared columns of one product of inputs and state
};
const Kind kHuge = {{500, 520}, {250, 260}, {0, 2}, {8, 9}};  // results of several megabytes

// A worker has one task at a time, there are no more of them than tasks, and each task is done
// once.
void check_team(int rounds) {
  Threads pool(8, 7);
  for (int round = 0; round < rounds; ++round) {
    gru::Team team(pool, 8);
    for (int stage = 0; stage < 4; ++stage) {
      const int64_t count = 1 + (round + stage) % 3;
      std::vector<std::atomic<int>> done(count), busy(count);
      std::atomic<bool> crowded{false};
      team.run(count, [&](int64_t i, int64_t worker) {
        ++done[i];
        if (worker >= count || busy[worker].exchange(1)) {
          crowded = true;
          return;
        }
        std::this_thread::yield();
        busy[worker] = 0;
      });
      for (const auto& times : done) {
        if (crowded || times != 1) throw std::runtime_error("a team's tasks are not shared out");
      }
    }
  }
}

}  // namespace

// Where a guard page ends the program, the last words are whose case it was.
static char now[200];
static struct sigaction usual;

static void say_where(int) {
  if (write(STDERR_FILENO, now, strlen(now)) >= 0) sigaction(SIGSEGV, &usual, nullptr);
}

int main(int argc, char** argv) {
  const int cases = argc > 1 ? atoi(argv[1]) : 100;
  std::mt19937 random(argc > 2 ? atoi(argv[2]) : 0);
  double worst = 0;
  struct sigaction telling{};
  telling.sa_handler = say_where;
  sigaction(SIGSEGV, &telling, &usual);
  try {
    check_team(6 * cases);
    for (int i = 0; i < cases; ++i) {
      const Kind& kind = i == 61 ? kHuge : i % 5 == 4 ? kKinds[i / 5 % std::size(kKinds)] : kSmall;
      const auto draw = [&](const int64_t (&size)[2]) {
        return size[0] + int64_t(random() % (size[1] - size[0] + 1));
      };
      const auto toss = [&] { return random() % 2 == 1; };
      const int64_t members = i % 4 != 1 || i == 61 ? 1 : &kind == &kSmall ? 2 + random() % 4 : 2;
      Case c{members,
             draw(kind.T),
             draw(kind.B),
             draw(kind.I),
             draw(kind.H),
             toss(),
             toss(),
             toss(),
             toss(),
             toss(),
             toss(),
             i / 20 % 2 == 0,
             toss() && i != 61 ? 0.3f : INFINITY};
      if (c.I == 256) c.T = c.T / 4 * 4;
      snprintf(now, sizeof now, "case %d: %s\n", i, c.name().c_str());
      worst = std::max(worst, check(c, i % 10 == 0 || i % 40 == 4 || i % 40 == 25, random));
    }
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  printf("%d cases on", cases);
  for (const gru::Level* level : gru::levels()) printf(" %s", level->name);
  printf(": largest difference %.1e\n", worst);
  return 0;
}
