// ONNX Runtime, loaded from whatever library is installed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "backends/onnx/ort_api.h"
#include "base/status.h"

namespace rerankd::ort {

// The one library and environment of a process. Thread-safe.
class Runtime {
 public:
  // $RERANKD_ONNXRUNTIME (a file, and no other is tried), else libonnxruntime.so.1 beside this plugin, else
  // what the system's loader finds. kNotFound: none, with each reason. kFailedPrecondition: one that cannot
  // be loaded or is too old.
  static Result<const Runtime*> Get();

  const std::string& version() const { return version_; }
  const std::string& path() const { return path_; }
  const Env* env() const { return env_; }
  const std::vector<std::string>& providers() const { return providers_; }
  bool Has(const std::string& provider) const;

  template <typename E>
  typename E::Type Function() const {
    return reinterpret_cast<typename E::Type>(table_[E::kSlot]);
  }

  // Calls a function that reports failure by a status.
  template <typename E, typename... Arguments>
  Status Call(Arguments... arguments) const {
    return Convert(Function<E>()(arguments...));
  }

 private:
  static Result<const Runtime*> Load();
  Status Start(const std::string& path);
  Status Convert(OrtStatus* status) const;

  std::string path_, version_;
  const Slot* table_ = nullptr;
  Env* env_ = nullptr;
  std::vector<std::string> providers_;
};

// Owns an object of the library.
template <typename T, typename Release>
class Handle {
 public:
  explicit Handle(const Runtime& runtime) : runtime_(&runtime) {}
  Handle(Handle&& other) noexcept : runtime_(other.runtime_), value_(std::exchange(other.value_, nullptr)) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (value_ != nullptr) runtime_->Function<Release>()(value_);
  }

  T* get() const { return value_; }
  T** out() { return &value_; }

 private:
  const Runtime* runtime_;
  T* value_ = nullptr;
};

using SessionHandle = Handle<Session, ReleaseSession>;
using OptionsHandle = Handle<SessionOptions, ReleaseSessionOptions>;
using ValueHandle = Handle<Value, ReleaseValue>;
using MemoryHandle = Handle<MemoryInfo, ReleaseMemoryInfo>;

}  // namespace rerankd::ort
