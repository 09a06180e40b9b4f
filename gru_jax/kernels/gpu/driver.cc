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

  // The image's kernel in the current context; it may use all shared memory.
  Handle function(const Image& image, const Work& work) {
    Handle context = nullptr;
    call("cuCtxGetCurrent", &context);
    if (!context) throw Refusal("no CUDA context is current");
    const std::lock_guard<std::mutex> lock(mutex_);
    Handle& function = functions_[{context, image.name, image.key}];
    if (!function) {
      Handle module = nullptr, found = nullptr;
      call("cuModuleLoadData", &module, image.bytes);
      call("cuModuleGetFunction", &found, module, image.name.c_str());
      call("cuFuncSetAttribute", found, kMaxShared, most_shared());
      if (work.shape.blocks() > 8) call("cuFuncSetAttribute", found, kAnyCluster, 1);
      function = found;
    }
    return function;
  }

  int most_shared() { return of_device(kMaxSharedOfABlock); }

  int of_device(int attribute) {
    int device = 0, value = 0;
    call("cuCtxGetDevice", &device);
    call("cuDeviceGetAttribute", &value, attribute, device);
    return value;
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
  std::mutex mutex_;
  std::map<std::tuple<Handle, std::string, int64_t>, Handle> functions_;
};

Config configure(const Work& work, int64_t clusters, int64_t rows_each, Attribute* cluster) {
  cluster->id = kClusterDimension;
  cluster->value = {.cluster = {static_cast<unsigned>(work.shape.blocks()), 1, 1}};
  return {{static_cast<unsigned>(clusters * work.shape.blocks()), 1, 1},
          {kThreads, 1, 1},
          static_cast<unsigned>(work.shared_bytes(rows_each)),
          nullptr,
          cluster,
          work.shape.blocks() > 1 ? 1u : 0u};
}

}  // namespace

int64_t rows_of_a_cluster(const Image& image, const Work& work) {
  Driver& driver = Driver::get();
  Handle function = driver.function(image, work);
  const int64_t memory = driver.most_shared();
  int64_t most = 0;
  while (most < work.rows && work.shared_bytes(most + 1) <= memory) ++most;
  if (!most) throw Refusal("a block has too little shared memory");
  int at_once = 0;
  if (work.shape.blocks() > 1) {
    Attribute cluster{};
    Config config = configure(work, 1, 1, &cluster);
    driver.call("cuOccupancyMaxActiveClusters", &at_once, function, &config);
  } else {
    driver.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", &at_once, function, kThreads,
                static_cast<size_t>(work.shared_bytes(1)));
    at_once *= driver.of_device(kProcessors);
  }
  if (at_once < 1)
    throw Refusal("no cluster of " + std::to_string(work.shape.blocks()) + " blocks fits");
  const int64_t rounds = (work.rows + at_once * most - 1) / (at_once * most);
  return (work.rows + at_once * rounds - 1) / (at_once * rounds);
}

void launch(void* stream, const Image& image, const Work& work, int64_t rows_each, void* argument) {
  Driver& driver = Driver::get();
  Attribute cluster{};
  Config config = configure(work, (work.rows + rows_each - 1) / rows_each, rows_each, &cluster);
  config.stream = stream;
  void* arguments[] = {argument};
  driver.call("cuLaunchKernelEx", &config, driver.function(image, work), &arguments[0],
              static_cast<void**>(nullptr));
}

void check(int device, const Image& image, const Work& work) {
  Driver& driver = Driver::get();
  Handle context = nullptr;
  driver.call("cuDevicePrimaryCtxRetain", &context, device);
  struct Release {
    int device;
    ~Release() {
      try {
        Driver::get().call("cuDevicePrimaryCtxRelease_v2", device);
      } catch (const Refusal&) {
      }
    }
  } release{device};
  driver.call("cuCtxPushCurrent_v2", context);
  struct Pop {
    ~Pop() {
      Handle context = nullptr;
      try {
        Driver::get().call("cuCtxPopCurrent_v2", &context);
      } catch (const Refusal&) {
      }
    }
  } pop;
  rows_of_a_cluster(image, work);
}

int driver_version() {
  int version = 0;
  Driver::get().call("cuDriverGetVersion", &version);
  return version;
}

void use_driver(const char* path) { library_name() = path; }

}  // namespace gru::gpu
