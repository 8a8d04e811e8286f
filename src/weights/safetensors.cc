#include "weights/safetensors.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "weights/strict_json.h"

namespace rerankd {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
// The largest encoders have a few thousand tensors of about 120 header bytes; 16 MiB leaves room and bounds
// what a hostile header can make us allocate.
constexpr uint64_t kMaxHeaderBytes = 16 << 20;
constexpr size_t kMaxDimensions = 8;

struct DtypeInfo {
  std::string_view name;
  int bits;
  Dtype dtype;
};
constexpr std::array kDtypes = {DtypeInfo{"F32", 32, Dtype::kF32},     DtypeInfo{"F16", 16, Dtype::kF16},
                                DtypeInfo{"BF16", 16, Dtype::kBf16},   DtypeInfo{"I8", 8, Dtype::kI8},
                                DtypeInfo{"F64", 64, Dtype::kOther},   DtypeInfo{"I64", 64, Dtype::kOther},
                                DtypeInfo{"I32", 32, Dtype::kOther},   DtypeInfo{"I16", 16, Dtype::kOther},
                                DtypeInfo{"U64", 64, Dtype::kOther},   DtypeInfo{"U32", 32, Dtype::kOther},
                                DtypeInfo{"U16", 16, Dtype::kOther},   DtypeInfo{"U8", 8, Dtype::kOther},
                                DtypeInfo{"BOOL", 8, Dtype::kOther},   DtypeInfo{"F8_E4M3", 8, Dtype::kOther},
                                DtypeInfo{"F8_E5M2", 8, Dtype::kOther}};

const DtypeInfo* FindDtype(std::string_view name) {
  const auto it = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& d) { return d.name == name; });
  return it == kDtypes.end() ? nullptr : &*it;
}

// A non-negative integer that fits int64_t; nothing otherwise.
std::optional<int64_t> Size(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(number);
}

// Bytes of a tensor; nothing when the product overflows.
std::optional<int64_t> ByteSize(std::span<const int64_t> shape, int bits) {
  int64_t size = bits / 8;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(size, dimension, &size)) return std::nullopt;
  }
  return size;
}

// One file under examination. `At(name)` starts every message.
struct File {
  std::string source;
  std::span<const std::byte> data;  // behind the header

  std::string At(std::string_view name) const {
    return "'" + source + "': tensor '" + std::string(name) + "' ";
  }
};

Status ReadShape(const File& file, const json& entry, TensorView* view) {
  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array() || shape->size() > kMaxDimensions)
    return InvalidArgument(file.At(view->name) + "needs a 'shape' list of at most " +
                           std::to_string(kMaxDimensions) + " dimensions");
  for (const json& dimension : *shape) {
    const auto size = Size(dimension);
    if (!size)
      return InvalidArgument(file.At(view->name) + "has a dimension that is not a whole number below 2^63");
    view->shape.push_back(*size);
  }
  return {};
}

Status ReadDtype(const File& file, const json& entry, TensorView* view) {
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string())
    return InvalidArgument(file.At(view->name) + "has no 'dtype' string");
  view->dtype_name = dtype->get<std::string>();
  const DtypeInfo* info = FindDtype(view->dtype_name);
  view->dtype = info != nullptr ? info->dtype : Dtype::kOther;
  return {};
}

Status ReadBytes(const File& file, const json& entry, TensorView* view) {
  const auto offsets = entry.find("data_offsets");
  const bool pair = offsets != entry.end() && offsets->is_array() && offsets->size() == 2;
  const auto begin = pair ? Size((*offsets)[0]) : std::nullopt;
  const auto end = pair ? Size((*offsets)[1]) : std::nullopt;
  if (!begin || !end || *begin > *end)
    return InvalidArgument(file.At(view->name) + "needs 'data_offsets' [begin, end] with begin <= end");
  if (static_cast<uint64_t>(*end) > file.data.size())
    return InvalidArgument(file.At(view->name) + "ends at byte " + std::to_string(*end) +
                           " of the data, but the file holds " + std::to_string(file.data.size()) +
                           ": it is cut or corrupt; fetch it again");
  view->bytes = file.data.subspan(static_cast<size_t>(*begin), static_cast<size_t>(*end - *begin));
  return {};
}

Status CheckByteSize(const File& file, const TensorView& view) {
  const DtypeInfo* info = FindDtype(view.dtype_name);
  if (info == nullptr) return {};  // a type that we do not know: an error once somebody reads the tensor
  const auto expected = ByteSize(view.shape, info->bits);
  if (expected && static_cast<uint64_t>(*expected) == view.bytes.size()) return {};
  return InvalidArgument(file.At(view.name) + "of type " + view.dtype_name + " and shape " +
                         ShapeText(view.shape) + " takes " +
                         (expected ? std::to_string(*expected) : "more than 2^63") +
                         " bytes, but its offsets span " + std::to_string(view.bytes.size()));
}

Result<TensorView> ReadTensor(const File& file, const std::string& name, const json& entry) {
  if (!entry.is_object()) return InvalidArgument(file.At(name) + "is not described by a JSON object");
  TensorView view;
  view.name = name;
  RERANKD_RETURN_IF_ERROR(ReadDtype(file, entry, &view));
  RERANKD_RETURN_IF_ERROR(ReadShape(file, entry, &view));
  RERANKD_RETURN_IF_ERROR(ReadBytes(file, entry, &view));
  RERANKD_RETURN_IF_ERROR(CheckByteSize(file, view));
  return view;
}

// The format demands that tensors cover the data exactly: no overlap, no hole, nothing behind the last.
Status CheckCoverage(const File& file, const std::vector<TensorView>& views) {
  std::vector<const TensorView*> order;
  for (const TensorView& view : views) {
    if (!view.bytes.empty()) order.push_back(&view);
  }
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->bytes.data() < b->bytes.data(); });
  size_t covered = 0;
  for (const TensorView* view : order) {
    const auto begin = static_cast<size_t>(view->bytes.data() - file.data.data());
    if (begin != covered)
      return InvalidArgument(
          file.At(view->name) + "begins at byte " + std::to_string(begin) +
          (begin < covered ? " and overlaps another tensor, which ends at " : " and leaves a hole after ") +
          std::to_string(covered));
    covered += view->bytes.size();
  }
  if (covered == file.data.size()) return {};
  return InvalidArgument("'" + file.source + "': " + std::to_string(file.data.size() - covered) +
                         " bytes behind the last tensor belong to none");
}

// The JSON header; *data gets what follows it.
Result<std::string_view> HeaderText(std::span<const std::byte> bytes, const std::string& source,
                                    std::span<const std::byte>* data) {
  if (bytes.size() < kLengthBytes)
    return InvalidArgument("'" + source + "' is no safetensors file: it has only " +
                           std::to_string(bytes.size()) + " bytes");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  const uint64_t limit = std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes);
  if (length > limit)
    return InvalidArgument("'" + source + "' announces a header of " + std::to_string(length) +
                           " bytes where at most " + std::to_string(limit) +
                           " can be: it is cut, or no safetensors file");
  const auto header = bytes.subspan(kLengthBytes, static_cast<size_t>(length));
  *data = bytes.subspan(kLengthBytes + static_cast<size_t>(length));
  return std::string_view(reinterpret_cast<const char*>(header.data()), header.size());
}

// A shard is a plain name in the folder of the index: an index must not reach anywhere else.
bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

bool Contains(std::span<const std::byte> whole, std::span<const std::byte> part) {
  const auto address = [](const std::byte* p) { return reinterpret_cast<uintptr_t>(p); };
  return address(part.data()) >= address(whole.data()) &&
         address(part.data()) + part.size() <= address(whole.data()) + whole.size();
}

using TensorsOfShard = std::map<std::string, std::vector<std::string>>;

Result<TensorsOfShard> ReadIndex(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const json index, ReadStrictJson(path));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object() || weight_map->empty())
    return InvalidArgument("'" + path + "' has no 'weight_map' from tensor names to files");
  TensorsOfShard shards;
  for (const auto& [name, shard] : weight_map->items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>()))
      return InvalidArgument("'" + path + "' must map tensor '" + name +
                             "' to the name of a file in its own folder");
    shards[shard.get<std::string>()].push_back(name);
  }
  return shards;
}

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t dimension : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
  return text + "]";
}

Status SafeTensors::Add(std::span<const std::byte> bytes, const std::string& source) {
  File file{source, {}};
  RERANKD_ASSIGN_OR_RETURN(const std::string_view text, HeaderText(bytes, source, &file.data));
  RERANKD_ASSIGN_OR_RETURN(const json header, ParseStrictJson(text, source));
  std::vector<TensorView> views;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    RERANKD_ASSIGN_OR_RETURN(TensorView view, ReadTensor(file, name, entry));
    views.push_back(std::move(view));
  }
  RERANKD_RETURN_IF_ERROR(CheckCoverage(file, views));
  for (TensorView& view : views) {
    if (tensors_.contains(view.name))
      return InvalidArgument(file.At(view.name) + "stands in another shard too");
    std::string name = view.name;
    tensors_.emplace(std::move(name), std::move(view));
  }
  return {};
}

Result<SafeTensors> SafeTensors::Parse(std::span<const std::byte> bytes, const std::string& source) {
  SafeTensors tensors;
  tensors.source_ = source;
  RERANKD_RETURN_IF_ERROR(tensors.Add(bytes, source));
  return tensors;
}

Result<SafeTensors> SafeTensors::Open(const std::string& path) {
  if (path.ends_with(".json")) return OpenIndex(path);
  RERANKD_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  RERANKD_ASSIGN_OR_RETURN(SafeTensors tensors, Parse(file.bytes(), path));
  tensors.files_.push_back(std::move(file));
  return tensors;
}

Result<SafeTensors> SafeTensors::OpenIndex(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const TensorsOfShard shards, ReadIndex(path));
  const auto folder = std::filesystem::path(path).parent_path();
  SafeTensors tensors;
  tensors.source_ = path;
  for (const auto& [shard, names] : shards) {
    RERANKD_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open((folder / shard).string()));
    RERANKD_RETURN_IF_ERROR(tensors.Add(file.bytes(), (folder / shard).string()));
    for (const std::string& name : names) {
      const TensorView* view = tensors.Find(name);
      if (view == nullptr || !Contains(file.bytes(), view->bytes))
        return InvalidArgument("'" + path + "' names tensor '" + name + "', but '" + shard +
                               "' does not hold it");
    }
    tensors.files_.push_back(std::move(file));
  }
  return tensors;
}

Result<SafeTensors> SafeTensors::OpenDirectory(const std::string& directory) {
  const auto folder = std::filesystem::path(directory);
  std::error_code ec;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (std::filesystem::exists(folder / name, ec)) return Open((folder / name).string());
  }
  return NotFound(
      "'" + directory +
      "' has neither model.safetensors nor model.safetensors.index.json; weights in another format "
      "(pytorch_model.bin) are not read: convert them to safetensors");
}

const TensorView* SafeTensors::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

void SafeTensors::Release(const TensorView& tensor) const {
  for (const MappedFile& file : files_) file.Release(tensor.bytes);
}

}  // namespace rerankd
