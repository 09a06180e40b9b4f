#include "levels.h"

#include <atomic>

namespace gru {

#define GRU_DECLARE(name)   \
  namespace name {          \
  extern const Level level; \
  }
#if defined(__x86_64__)
GRU_DECLARE(avx512)
GRU_DECLARE(avx2)
#endif
GRU_DECLARE(baseline)

std::vector<const Level*> levels() {
  std::vector<const Level*> found;
  for (const Level* level : {
#if defined(__x86_64__)
           &avx512::level, &avx2::level,
#endif
           &baseline::level}) {
    if (level->runs_here()) found.push_back(level);
  }
  return found;
}

static std::atomic<const Level*> chosen{nullptr};

const Level& level() {
  const Level* now = chosen.load();
  if (!now) chosen.store(now = levels().front());
  return *now;
}

bool use_level(std::string_view name) {
  for (const Level* found : levels()) {
    if (found->name == name) {
      chosen.store(found);
      return true;
    }
  }
  return false;
}

}  // namespace gru
