// Devices of PyTorch by the names of model.device: which work here and why not, and what they report of
// themselves.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "core/backend.h"

namespace rerankd {

// "cpu", "cuda", "cuda:N", "mps". kFailedPrecondition with the exact reason where it does not work here.
Result<c10::Device> FindTorchDevice(const std::string& name, const std::string& backend);

// Memory that the driver has given to this process, and how busy the device is; both 0 or unknown on a CPU.
BackendUsage DeviceUsage(c10::Device device);

}  // namespace rerankd
