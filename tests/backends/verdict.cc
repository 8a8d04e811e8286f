#include "verdict.h"

#include <algorithm>

#include "base/text.h"
#include "engine/engine.h"

namespace rerankd {
namespace {

// "CPU" and "gpu.1" as "cpu" and "gpu".
std::string Kind(const std::string& device) {
  std::string kind = device.substr(0, device.find_first_of(":."));
  std::transform(kind.begin(), kind.end(), kind.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return kind;
}

bool HasDevice(const BackendDescription& backend, const std::string& device) {
  return std::any_of(backend.devices.begin(), backend.devices.end(),
                     [&](const std::string& one) { return Kind(one) == Kind(device); });
}

// fp32, int8 and int4 are computed on any device, whatever its arithmetic.
bool IsHalf(const std::string& precision) { return precision == "bf16" || precision == "fp16"; }

}  // namespace

Verdict Judge(const Subject& subject, const std::function<Status()>& make) {
  const std::vector<BackendDescription> backends = AvailableBackends();
  const auto backend = std::find_if(backends.begin(), backends.end(), [&](const BackendDescription& one) {
    return one.name == subject.backend;
  });
  if (backend == backends.end()) return {Standing::kBroken, "there is no such backend"};
  if (!backend->missing.empty())
    return {backend->broken ? Standing::kBroken : Standing::kAbsent,
            backend->missing + "; get it with: " + backend->get};
  const Status made = make();
  if (made.ok()) return {Standing::kRuns, backend->details};
  const bool of_machine = !HasDevice(*backend, subject.device) || IsHalf(subject.precision);
  const bool no_package =
      subject.backend == "compiled" && made.message().find("no package") != std::string::npos;
  const bool absent = made.code() == Code::kFailedPrecondition && (of_machine || no_package);
  return {absent ? Standing::kAbsent : Standing::kBroken, made.ToString()};
}

}  // namespace rerankd
