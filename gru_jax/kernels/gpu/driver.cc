#include "driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "declarations.h"

namespace gru::gpu {
namespace {

std::string& library_name() {
  static std::string name = "libcuda.so.1";
  return name;
}

class Driver {
 public:
  static Driver& get() {
    static Driver driver;
    return driver;
  }

  template <typename... Arguments>
  void call(const char* name, Arguments... arguments) {
    const auto function = reinterpret_cast<Status (*)(Arguments...)>(find(name));
    if (const Status status = function(arguments...)) {
      const char* text = nullptr;
      const auto describe =
          reinterpret_cast<Status (*)(Status, const char**)>(find("cuGetErrorString"));
      if (describe(status, &text) || !text) text = "an unknown error";
      throw Refusal(std::string(name) + " failed: " + text + " (" + std::to_string(status) + ")");
    }
  }

  // Like `call`, but ignores failures: for destructors.
  template <typename... Arguments>
  void try_to_call(const char* name, Arguments... arguments) noexcept {
    try {
      call(name, arguments...);
    } catch (const std::exception&) {
    }
  }

 private:
  Driver() : library_(dlopen(library_name().c_str(), RTLD_NOW)) {
    if (!library_) throw Refusal("there is no NVIDIA driver: " + std::string(dlerror()));
    call("cuInit", 0u);
  }

  void* find(const char* name) {
    void* function = dlsym(library_, name);
    if (!function) throw Refusal(std::string("the NVIDIA driver is too old: it has no ") + name);
    return function;
  }

  void* library_;
};

// Makes a context current.
class Current {
 public:
  explicit Current(Handle context) {
    Handle now = nullptr;
    Driver::get().call("cuCtxGetCurrent", &now);
    if (now == context) return;
    Driver::get().call("cuCtxPushCurrent_v2", context);
    pushed_ = true;
  }
  Current(const Current&) = delete;
  ~Current() {
    Handle context = nullptr;
    if (pushed_) Driver::get().try_to_call("cuCtxPopCurrent_v2", &context);
  }

 private:
  bool pushed_ = false;
};

Config configure(const Work& work, int64_t clusters, int64_t rows_each, Attribute* cluster) {
  const auto blocks = static_cast<unsigned>(work.shape.blocks());
  cluster->id = kClusterDimension;
  cluster->value = {.cluster = {blocks, 1, 1}};
  return {{static_cast<unsigned>(clusters) * blocks, 1, 1},
          {kThreads, 1, 1},
          static_cast<unsigned>(work.shared_bytes(rows_each)),
          nullptr,
          cluster,
          blocks > 1 ? 1u : 0u};
}

// A kernel in a context, how many of its clusters run at once, and the most rows of each.
struct Loaded {
  Handle function;
  int64_t clusters, most_rows;
};

Loaded load(const Image& image, const Work& work) {
  Driver& driver = Driver::get();
  int device = 0, memory = 0, clusters = 0;
  driver.call("cuCtxGetDevice", &device);
  driver.call("cuDeviceGetAttribute", &memory, kMaxSharedOfABlock, device);
  Handle module = nullptr, function = nullptr;
  driver.call("cuModuleLoadData", &module, image.bytes);
  driver.call("cuModuleGetFunction", &function, module, image.name.c_str());
  driver.call("cuFuncSetAttribute", function, kMaxShared, memory);
  if (work.shape.blocks() > 8) driver.call("cuFuncSetAttribute", function, kAnyCluster, 1);
  int64_t most_rows = 0;
  while (work.shared_bytes(most_rows + 1) <= memory) ++most_rows;
  if (!most_rows) {
    throw Refusal("a block must have " + std::to_string(work.shared_bytes(1)) +
                  " bytes of shared memory, and has " + std::to_string(memory));
  }
  if (work.shape.blocks() > 1) {
    Attribute cluster{};
    Config config = configure(work, 1, 1, &cluster);
    driver.call("cuOccupancyMaxActiveClusters", &clusters, function, &config);
  } else {
    int processors = 0;
    driver.call("cuDeviceGetAttribute", &processors, kProcessors, device);
    driver.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", &clusters, function, kThreads,
                static_cast<size_t>(work.shared_bytes(1)));
    clusters *= processors;
  }
  if (clusters < 1) {
    const std::string blocks = std::to_string(work.shape.blocks());
    throw Refusal("the GPU holds no cluster of " + blocks + (blocks == "1" ? " block" : " blocks"));
  }
  return {function, clusters, most_rows};
}

// The image's kernel in the current context; loads it on first use.
Loaded loaded(Handle context, const Image& image, const Work& work) {
  static std::mutex mutex;
  static std::map<std::tuple<Handle, std::string, int64_t>, Loaded> all;
  const auto key = std::make_tuple(context, image.name, image.key);
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (const auto found = all.find(key); found != all.end()) return found->second;
  }
  const Loaded fresh =
      load(image, work);  // It may wait for other devices, and so for other threads.
  const std::lock_guard<std::mutex> lock(mutex);
  return all.emplace(key, fresh).first->second;
}

}  // namespace

void launch(void* stream, const Image& image, const Work& work,
            const std::function<void*(int64_t& rows_each)>& argument) {
  Driver& driver = Driver::get();
  Handle context = nullptr;
  driver.call("cuStreamGetCtx", stream, &context);
  const Current current(context);
  const auto [function, clusters, most_rows] = loaded(context, image, work);
  const int64_t rounds = (work.rows + clusters * most_rows - 1) / (clusters * most_rows);
  int64_t rows_each = (work.rows + clusters * rounds - 1) / (clusters * rounds);
  void* arguments[] = {argument(rows_each)};
  Attribute cluster{};
  Config config = configure(work, (work.rows + rows_each - 1) / rows_each, rows_each, &cluster);
  config.stream = stream;
  driver.call("cuLaunchKernelEx", &config, function, &arguments[0], static_cast<void**>(nullptr));
}

void check(int device, const Image& image, const Work& work) {
  Handle context = nullptr;
  Driver::get().call("cuDevicePrimaryCtxRetain", &context, device);  // For good, as its kernels.
  const Current current(context);
  loaded(context, image, work);
}

int driver_version() {
  int version = 0;
  Driver::get().call("cuDriverGetVersion", &version);
  return version;
}

void use_driver(const char* path) { library_name() = path; }

}  // namespace gru::gpu
