// A stand-in for NVIDIA's driver: it runs the kernel's code on the CPU, and can be told to refuse.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "backward.cuh"
#include "forward.cuh"

namespace {

using namespace gru::gpu;
using Kernel = void (*)(const void*);

#define GRU_ONE(pass, Problem, width, form, after)                        \
  {"gru_" #pass "_" #form "_" #width, [](const void* problem) {           \
     gru::gpu::pass<width, after>(*static_cast<const Problem*>(problem)); \
   }}
#define GRU_FORMS(pass, Problem, width) \
  GRU_ONE(pass, Problem, width, before, false), GRU_ONE(pass, Problem, width, after, true)
#define GRU_WIDTHS(pass, Problem)                                                             \
  GRU_FORMS(pass, Problem, 64), GRU_FORMS(pass, Problem, 128), GRU_FORMS(pass, Problem, 256), \
      GRU_FORMS(pass, Problem, 512)

const std::map<std::string, Kernel> kKernels = {GRU_WIDTHS(forward, Forward),
                                                GRU_WIDTHS(backward, Backward)};

// What the machine has, what the last launch was, and which function fails with what.
struct State {
  int processors = 2, shared = 227 * 1024, clusters = 2, seed = 0;
  std::string last, fails;
  int status = 0, launches = 0;
  std::mutex mutex;
};

State& state() {
  static State all;
  return all;
}

int failure(const char* name) { return state().fails == name ? state().status : 0; }

struct Attribute {
  int id;
  char pad[4];
  unsigned cluster[16];
};

struct Config {
  unsigned grid[3], block[3], shared;
  void* stream;
  Attribute* attributes;
  unsigned count;
};

}  // namespace

#define GRU_STATUS extern "C" __attribute__((visibility("default"))) int
#define GRU_FAIL_IF_TOLD \
  if (const int status = failure(__func__)) return status

GRU_STATUS cuInit(unsigned) {
  GRU_FAIL_IF_TOLD;
  return 0;
}

GRU_STATUS cuDriverGetVersion(int* version) {
  GRU_FAIL_IF_TOLD;
  *version = 13000;
  return 0;
}

GRU_STATUS cuGetErrorString(int status, const char** text) {
  *text = status == 2 ? "out of memory" : "a told failure";
  return 0;
}

GRU_STATUS cuCtxGetCurrent(void** context) {
  GRU_FAIL_IF_TOLD;
  *context = &state();
  return 0;
}

GRU_STATUS cuCtxGetDevice(int* device) {
  *device = 0;
  return 0;
}

GRU_STATUS cuDevicePrimaryCtxRetain(void** context, int) { return cuCtxGetCurrent(context); }
GRU_STATUS cuDevicePrimaryCtxRelease_v2(int) { return 0; }
GRU_STATUS cuCtxPushCurrent_v2(void*) { return 0; }
GRU_STATUS cuCtxPopCurrent_v2(void**) { return 0; }

GRU_STATUS cuDeviceGetAttribute(int* value, int attribute, int) {
  GRU_FAIL_IF_TOLD;
  *value = attribute == 16 ? state().processors : attribute == 97 ? state().shared : -1;
  return 0;
}

GRU_STATUS cuModuleLoadData(void** module, const void* image) {
  GRU_FAIL_IF_TOLD;
  // An image is an ELF file for a machine of the number 190, as NVRTC writes it.
  const unsigned char* bytes = static_cast<const unsigned char*>(image);
  if (memcmp(bytes,
             "\x7f"
             "ELF",
             4) ||
      bytes[18] != 190)
    return 200;
  *module = const_cast<void*>(image);
  return 0;
}

GRU_STATUS cuModuleGetFunction(void** function, void*, const char* name) {
  GRU_FAIL_IF_TOLD;
  const auto found = kKernels.find(name);
  if (found == kKernels.end()) return 500;
  *function = const_cast<void*>(static_cast<const void*>(&*found));
  return 0;
}

GRU_STATUS cuFuncSetAttribute(void*, int, int) {
  GRU_FAIL_IF_TOLD;
  return 0;
}

GRU_STATUS cuOccupancyMaxActiveClusters(int* count, void*, const Config*) {
  GRU_FAIL_IF_TOLD;
  *count = state().clusters;
  return 0;
}

GRU_STATUS cuOccupancyMaxActiveBlocksPerMultiprocessor(int* count, void*, int, size_t) {
  GRU_FAIL_IF_TOLD;
  *count = 1;
  return 0;
}

GRU_STATUS cuLaunchKernelEx(const Config* config, void* function, void** arguments, void**) {
  GRU_FAIL_IF_TOLD;
  const std::lock_guard<std::mutex> lock(state().mutex);
  const auto& [name, kernel] = *static_cast<const std::pair<const std::string, Kernel>*>(function);
  int blocks = 1;
  for (unsigned i = 0; i < config->count; ++i) {
    if (config->attributes[i].id == 4) blocks = config->attributes[i].cluster[0];
  }
  if (config->grid[0] % blocks || config->shared > unsigned(state().shared)) return 1;
  ++state().launches;
  state().last = name + " grid " + std::to_string(config->grid[0]) + " cluster " +
                 std::to_string(blocks) + " threads " + std::to_string(config->block[0]) +
                 " shared " + std::to_string(config->shared);
  std::mt19937 random(state().seed);
  Cluster cluster(blocks, config->block[0], config->shared);
  const std::function<void()> run = [&, kernel = kernel] { kernel(arguments[0]); };
  for (unsigned first = 0; first < config->grid[0]; first += blocks) {
    cluster.run(first, run, random);
  }
  return 0;
}

// What the tests say and ask.
#define GRU_TEST extern "C" __attribute__((visibility("default")))

GRU_TEST void fake_machine(int processors, int shared, int clusters, int seed) {
  state().processors = processors, state().shared = shared, state().clusters = clusters;
  state().seed = seed;
}

GRU_TEST void fake_failure(const char* function, int status) {
  state().fails = function, state().status = status;
}

GRU_TEST int fake_launches() { return state().launches; }
GRU_TEST const char* fake_last_launch() { return state().last.c_str(); }
