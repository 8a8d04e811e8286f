// Reader of safetensors files: one file or the shards that an index names, mapped and never copied.
// Nothing in a file is trusted: header length, JSON, names, types, shapes and offsets are checked against the
// file before any view is handed out. Errors are kInvalidArgument and name the file and the tensor at fault.
// Immutable after opening: every call is thread-safe. Views live as long as the SafeTensors (moving it is
// fine).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace rerankd {

enum class Dtype { kF32, kF16, kBf16, kI8, kOther };

struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kOther;
  std::string dtype_name;  // as the file spells it: "F32", "I64"
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // little-endian, row-major; not necessarily aligned
};

// "[384, 1536]", for messages.
std::string ShapeText(std::span<const int64_t> shape);

class SafeTensors {
 public:
  // `path` is a .safetensors file, or an index (.json) whose shards lie in the same folder.
  static Result<SafeTensors> Open(const std::string& path);
  // model.safetensors of a model folder, else model.safetensors.index.json. kNotFound if there is neither.
  static Result<SafeTensors> OpenDirectory(const std::string& directory);
  // Views into `bytes`, which must outlive the result; `source` names them in errors.
  static Result<SafeTensors> Parse(std::span<const std::byte> bytes, const std::string& source);

  const TensorView* Find(std::string_view name) const;  // null if absent
  // Gives back the memory that reading a tensor took; its view stays good.
  void Release(const TensorView& tensor) const;
  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  const std::string& source() const { return source_; }  // the path, for messages

 private:
  static Result<SafeTensors> OpenIndex(const std::string& path);
  Status Add(std::span<const std::byte> bytes, const std::string& source);

  std::string source_;
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace rerankd
