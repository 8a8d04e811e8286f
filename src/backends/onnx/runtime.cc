#include "backends/onnx/runtime.h"

#include <dlfcn.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "backends/engine_files.h"
#include "backends/padded_backend.h"
#include "base/text.h"

namespace rerankd::ort {
namespace {

constexpr const char* kVariable = "RERANKD_ONNXRUNTIME";
#ifdef __APPLE__
constexpr const char* kLibrary = "libonnxruntime.1.dylib";
constexpr const char* kUnversioned = "libonnxruntime.dylib";
#else
constexpr const char* kLibrary = "libonnxruntime.so.1";
constexpr const char* kUnversioned = "libonnxruntime.so";
#endif

std::vector<std::string> Candidates() {
  const char* chosen = std::getenv(kVariable);
  if (chosen != nullptr && *chosen != '\0') return {chosen};
  std::vector<std::string> candidates;
  if (const std::string folder = PluginFolder(); !folder.empty())
    candidates.push_back((std::filesystem::path(folder) / kLibrary).string());
  candidates.emplace_back(kLibrary);
  candidates.emplace_back(kUnversioned);
  return candidates;
}

}  // namespace

Result<const Runtime*> Runtime::Get() {
  static const Result<const Runtime*> runtime = Load();
  return runtime;
}

Result<const Runtime*> Runtime::Load() {
  std::vector<std::string> reasons;
  Code code = Code::kNotFound;
  for (const std::string& path : Candidates()) {
    auto* runtime = new Runtime;  // of the process: engines do not like to be unloaded
    const Status started = runtime->Start(path);
    if (started.ok()) return runtime;
    delete runtime;
    if (started.code() != Code::kNotFound) code = Code::kFailedPrecondition;
    reasons.push_back(started.message());
  }
  return Status(code,
                "no ONNX Runtime library: " + Join(reasons, "; ") + " (" + kVariable + " names another)");
}

Status Runtime::Start(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const std::string reason = dlerror();
    // A path is looked at; of a name that the system's loader looks for, it says what it did not find.
    const bool named = path.find('/') == std::string::npos;
    const bool absent = named ? reason.starts_with(path) && reason.ends_with(std::strerror(ENOENT))
                              : !std::filesystem::exists(path);
    return absent ? NotFound(reason) : FailedPrecondition(reason);
  }
  const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (base == nullptr) return FailedPrecondition(path + " has no OrtGetApiBase: not ONNX Runtime");
  path_ = path;
  version_ = base()->GetVersionString();
  table_ = base()->GetApi(kOrtApiVersion);
  if (table_ == nullptr)
    return FailedPrecondition(path + " is ONNX Runtime " + version_ + "; 1." +
                              std::to_string(kOrtApiVersion) + " or newer is needed");
  RERANKD_RETURN_IF_ERROR(Call<CreateEnv>(kFatal, "rerankd", &env_));
  char** names = nullptr;
  int count = 0;
  RERANKD_RETURN_IF_ERROR(Call<GetAvailableProviders>(&names, &count));
  providers_.assign(names, names + count);
  return Call<ReleaseAvailableProviders>(names, count);
}

bool Runtime::Has(const std::string& provider) const {
  return std::find(providers_.begin(), providers_.end(), provider) != providers_.end();
}

Status Runtime::Convert(OrtStatus* status) const {
  if (status == nullptr) return {};
  std::string message = Function<GetErrorMessage>()(status);
  Function<ReleaseStatus>()(status);
  return MeansOutOfMemory(message) ? ResourceExhausted(std::move(message)) : Internal(std::move(message));
}

}  // namespace rerankd::ort
