#include "backends/torch/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

#include <charconv>

#include "backends/padded_backend.h"

namespace rerankd {
namespace {

// The driver first: without it libtorch_cuda loads for seconds to find nothing. Must come before ATen looks
// for CUDA, which it does once.
Status LoadCuda() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL) == nullptr)
    return FailedPrecondition(std::string("no NVIDIA driver: ") + dlerror());
  if (dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL) == nullptr)
    return FailedPrecondition(std::string("this PyTorch has no CUDA: ") + dlerror());
  return {};
}

Status CheckCuda(int index) {
  static const Status loaded = LoadCuda();
  RERANKD_RETURN_IF_ERROR(loaded);
  if (!at::hasCUDA()) return FailedPrecondition("PyTorch finds no CUDA device");
  const int count = at::detail::getCUDAHooks().deviceCount();
  if (index < count) return {};
  return FailedPrecondition("there are " + std::to_string(count) + " CUDA devices, numbered from 0");
}

// Its address on the PCI bus, by which the driver's libraries agree on a device: NVML numbers all that are in
// the machine, CUDA those of CUDA_VISIBLE_DEVICES, fastest first. Empty: unknown.
std::string PciAddress(int index) {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver == nullptr) return "";
  const auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  const auto address = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetPCIBusId"));
  int device = 0;
  char text[32] = {};
  if (get == nullptr || address == nullptr || get(&device, index) != 0 ||
      address(text, sizeof(text), device) != 0)
    return "";
  return text;
}

// How busy CUDA device `index` was during the last sample of its driver, 0..1; negative: it does not tell.
class Nvml {
 public:
  double Utilization(int index) const {
    struct Rates {
      unsigned gpu, memory;
    } rates{};
    void* device = nullptr;
    const std::string address = PciAddress(index);
    if (!ready_ || address.empty() || handle_(address.c_str(), &device) != 0 || rates_(device, &rates) != 0)
      return -1;
    return rates.gpu / 100.0;
  }

  static const Nvml& Get() {
    static const Nvml nvml;
    return nvml;
  }

 private:
  Nvml() {
    void* library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) return;
    const auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    handle_ =
        reinterpret_cast<int (*)(const char*, void**)>(dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2"));
    rates_ = reinterpret_cast<int (*)(void*, void*)>(dlsym(library, "nvmlDeviceGetUtilizationRates"));
    ready_ = init != nullptr && handle_ != nullptr && rates_ != nullptr && init() == 0;
  }

  int (*handle_)(const char*, void**) = nullptr;
  int (*rates_)(void*, void*) = nullptr;
  bool ready_ = false;
};

}  // namespace

Result<c10::Device> FindTorchDevice(const std::string& name, const std::string& backend) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name == "mps") {
    if (at::hasMPS()) return c10::Device(c10::kMPS, 0);
    return NoSuchDevice(name, backend,
                        "this PyTorch is built without MPS, which is in its packages for macOS");
  }
  const std::string prefix = "cuda:";
  int index = 0;
  const char* digits = name.c_str() + prefix.size();
  const char* end = name.c_str() + name.size();
  const bool indexed =
      name.starts_with(prefix) && std::from_chars(digits, end, index).ptr == end && digits != end;
  if (name != "cuda" && !indexed) return NoSuchDevice(name, backend, "not one of cpu, cuda, cuda:N, mps");
  if (const Status cuda = CheckCuda(index); !cuda.ok()) return NoSuchDevice(name, backend, cuda.message());
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

BackendUsage DeviceUsage(c10::Device device) {
  BackendUsage usage;
  if (device.is_mps())
    usage.device_bytes = static_cast<int64_t>(at::detail::getMPSHooks().getDriverAllocatedMemory());
  if (device.is_cuda()) {
    const auto stats = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(device.index());
    usage.device_bytes =
        stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].current;
    usage.device_utilization = Nvml::Get().Utilization(device.index());
  }
  return usage;
}

}  // namespace rerankd
