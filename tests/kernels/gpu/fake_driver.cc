// Stands in for NVIDIA's driver: runs the kernel on the CPU. Tests can make it fail.

#include <cuda.h>

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

// The emulated machine, its functions' attributes, the last launch, and the failures that a test
// asked for.
struct State {
  int processors = 2, shared = 227 * 1024, clusters = 2, seed = 0;
  int contexts = 0;  // the number so far; each loads images anew
  int held = 0;      // contexts that were pushed and not popped
  bool elsewhere = false;  // no context is current until one is pushed
  std::map<CUfunction, std::map<CUfunction_attribute, int>> attributes;
  std::string last, fails;
  int status = 0, launches = 0;
  std::mutex mutex;
};

State& state() {
  static State all;
  return all;
}

CUresult failure(const std::string& name) {
  const bool fails = (" " + state().fails + " ").find(" " + name + " ") != std::string::npos;
  return fails ? static_cast<CUresult>(state().status) : CUDA_SUCCESS;
}

CUcontext the_context() {
  return reinterpret_cast<CUcontext>(static_cast<intptr_t>(state().contexts));
}

CUcontext current_context() { return state().elsewhere && !state().held ? nullptr : the_context(); }

int cluster_of(const CUlaunchConfig& config) {
  int blocks = 1;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) continue;
    const auto& of_blocks = config.attrs[i].value.clusterDim;
    blocks = of_blocks.y == 1 && of_blocks.z == 1 ? of_blocks.x : 0;
  }
  return blocks;
}

// Whether a GPU would take such a launch.
bool may_run(const CUlaunchConfig& config, CUfunction function) {
  const int blocks = cluster_of(config);
  if (blocks < 1 || config.gridDimX < 1 || config.gridDimX % blocks) return false;
  if (config.gridDimY * config.gridDimZ * config.blockDimY * config.blockDimZ != 1) return false;
  auto& may = state().attributes[function];
  const int shared = may[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES];
  const bool any = may[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED];
  return blocks <= (any ? 16 : 8) && config.sharedMemBytes <= unsigned(std::max(shared, 48 * 1024));
}

}  // namespace

#define GRU_FAIL_IF_TOLD \
  if (const CUresult status = failure(__func__)) return status

extern "C" {

CUresult cuInit(unsigned) {
  GRU_FAIL_IF_TOLD;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) {
  GRU_FAIL_IF_TOLD;
  *version = 13000;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult status, const char** text) {
  GRU_FAIL_IF_TOLD;
  *text = status == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "a told failure";
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  GRU_FAIL_IF_TOLD;
  *context = current_context();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) {
  GRU_FAIL_IF_TOLD;
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  GRU_FAIL_IF_TOLD;
  *context = the_context();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream, CUcontext* context) {
  GRU_FAIL_IF_TOLD;
  *context = the_context();
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext) {
  GRU_FAIL_IF_TOLD;
  ++state().held;
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext* context) {
  GRU_FAIL_IF_TOLD;
  --state().held;
  *context = current_context();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  GRU_FAIL_IF_TOLD;
  *value = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT                ? state().processors
           : attribute == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? state().shared
                                                                                : -1;
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  GRU_FAIL_IF_TOLD;
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  // An image is an ELF file with machine number 190 (EM_CUDA).
  const unsigned char* bytes = static_cast<const unsigned char*>(image);
  if (memcmp(bytes, "\177ELF", 4) || bytes[18] != 190) return CUDA_ERROR_INVALID_IMAGE;
  *module = static_cast<CUmodule>(const_cast<void*>(image));
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  GRU_FAIL_IF_TOLD;
  const auto found = kKernels.find(name);
  if (found == kKernels.end()) return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(const_cast<void*>(static_cast<const void*>(&*found)));
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  GRU_FAIL_IF_TOLD;
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().attributes[function][attribute] = value;
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int* count, CUfunction function,
                                      const CUlaunchConfig* config) {
  GRU_FAIL_IF_TOLD;
  const std::lock_guard<std::mutex> lock(state().mutex);
  if (!may_run(*config, function)) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  *count = state().clusters;
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* count, CUfunction, int, size_t) {
  GRU_FAIL_IF_TOLD;
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments,
                          void**) {
  GRU_FAIL_IF_TOLD;
  const std::lock_guard<std::mutex> lock(state().mutex);
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!may_run(*config, function)) return CUDA_ERROR_INVALID_VALUE;
  const auto& [name, kernel] =
      *reinterpret_cast<const std::pair<const std::string, Kernel>*>(function);
  const unsigned grid = config->gridDimX, threads = config->blockDimX;
  const int blocks = cluster_of(*config);
  ++state().launches;
  state().last = name + " grid " + std::to_string(grid) + " cluster " + std::to_string(blocks) +
                 " threads " + std::to_string(threads) + " shared " +
                 std::to_string(config->sharedMemBytes);
  std::mt19937 random(state().seed);
  Cluster cluster(blocks, threads, config->sharedMemBytes);
  const std::function<void()> run = [&, kernel = kernel] { kernel(arguments[0]); };
  for (unsigned first = 0; first < grid; first += blocks) cluster.run(first, run, random);
  return CUDA_SUCCESS;
}

// The interface of the tests.

void fake_machine(int processors, int shared, int clusters, int seed) {
  state().processors = processors, state().shared = shared, state().clusters = clusters;
  state().seed = seed;
  state().held = 0, state().elsewhere = false;
  state().attributes.clear();
  ++state().contexts;
}

void fake_failure(const char* functions, int status) {
  state().fails = functions, state().status = status;
}

int fake_launches() { return state().launches; }
const char* fake_last_launch() { return state().last.c_str(); }

void fake_no_context() { state().elsewhere = true; }

int fake_held() { return state().held; }

}  // extern "C"
