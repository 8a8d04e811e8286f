#include "load/dataset.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "load/collection.h"

namespace rerankd::load {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using TextPair = std::pair<std::string, std::string>;

std::string Sha256(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

Status CheckText(const std::string& text, const char* what) {
  if (text.empty()) return InvalidArgument(fmt::format("the {} is empty", what));
  if (const auto at = FirstInvalidUtf8(text))
    return InvalidArgument(fmt::format("the {} is not UTF-8 at byte {}", what, *at));
  return {};
}

Status Accept(TextPair pair, Dataset* out) {
  RERANKD_RETURN_IF_ERROR(CheckText(pair.first, "query"));
  RERANKD_RETURN_IF_ERROR(CheckText(pair.second, "document"));
  out->info.bytes += static_cast<int64_t>(pair.first.size() + pair.second.size());
  out->pairs.push_back(std::move(pair));
  return {};
}

Result<TextPair> FromJsonLine(const std::string& line) {
  const Json j = Json::parse(line, nullptr, false);
  if (!j.is_object()) return InvalidArgument("not a JSON object");
  for (const char* key : {"query", "document"})
    if (!j.contains(key) || !j[key].is_string())
      return InvalidArgument(fmt::format("key \"{}\" with a text is missing", key));
  return TextPair(j["query"].get<std::string>(), j["document"].get<std::string>());
}

Result<TextPair> FromTsvLine(const std::string& line) {
  const std::vector<std::string_view> parts = Split(line, '\t');
  if (parts.size() != 2)
    return InvalidArgument(fmt::format("expected query TAB document, found {} columns", parts.size()));
  return TextPair(parts[0], parts[1]);
}

Result<TextPair> FromJsonItem(const Json& item) {
  if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_string())
    return InvalidArgument("expected [query, document]");
  return TextPair(item[0].get<std::string>(), item[1].get<std::string>());
}

using LineParser = Result<TextPair> (*)(const std::string&);

Status ReadLines(const std::string& path, LineParser parse, int64_t limit, Dataset* out) {
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::string line;
  while (static_cast<int64_t>(out->pairs.size()) < limit && reader.Next(&line)) {
    if (line.empty()) continue;
    auto pair = parse(line);
    const Status status = pair.ok() ? Accept(std::move(*pair), out) : pair.status();
    if (!status.ok()) return status.WithContext(fmt::format("{}:{}", path, reader.line_number()));
  }
  return reader.status();
}

Status ReadJsonList(const std::string& path, const std::string& text, int64_t limit, Dataset* out) {
  try {
    const Json list = Json::parse(text);
    if (!list.is_array()) return InvalidArgument(path + ": expected a JSON list of [query, document]");
    for (const Json& item : list) {
      if (static_cast<int64_t>(out->pairs.size()) >= limit) break;
      auto pair = FromJsonItem(item);
      const Status status = pair.ok() ? Accept(std::move(*pair), out) : pair.status();
      if (!status.ok()) return status.WithContext(fmt::format("{}: pair {}", path, out->pairs.size() + 1));
    }
    return {};
  } catch (const Json::parse_error& e) {
    const size_t end = std::min(e.byte, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    return InvalidArgument(fmt::format("{}:{}: not valid JSON", path, line));
  }
}

Status ReadPairs(const std::string& path, const std::string& bytes, int64_t limit, Dataset* out) {
  fs::path plain(path);
  if (plain.extension() == ".gz") plain.replace_extension();
  const std::string kind = plain.extension().string();
  if (kind == ".jsonl") return ReadLines(path, FromJsonLine, limit, out);
  if (kind == ".tsv") return ReadLines(path, FromTsvLine, limit, out);
  if (kind == ".json") return ReadJsonList(path, bytes, limit, out);
  return InvalidArgument(fmt::format("{}: unknown kind of data set; .jsonl, .tsv and .json are read", path));
}

// The digest of a folder is that of its pairs, as lines of query TAB document.
Result<Dataset> FromFolder(const fs::path& folder, int64_t limit) {
  CollectionLimits limits;
  limits.needs_run = false;
  auto collection = LoadCollection(folder.string(), limits);
  if (!collection.ok()) return collection.status().WithContext("data set");
  Dataset dataset;
  std::string lines;
  for (TextPair& pair : collection->pairs) {
    if (dataset.info.pairs == limit) break;
    lines += pair.first + '\t' + pair.second + '\n';
    ++dataset.info.pairs;
    const Status status = Accept(std::move(pair), &dataset);
    if (!status.ok())
      return status.WithContext(fmt::format("data set {}: pair {}", folder.string(), dataset.info.pairs));
  }
  dataset.info.name = folder.filename().string();
  dataset.info.sha256 = Sha256(lines);
  return dataset;
}

std::vector<fs::path> PlacesOf(const std::string& name) {
  std::error_code ignored;
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::vector<fs::path> places = {(folder / "../share/rerankd" / name).lexically_normal()};
  for (fs::path above = folder; !above.empty(); above = above.parent_path()) {
    places.push_back((above / "experiments" / name).lexically_normal());
    if (above == above.root_path()) break;
  }
  return places;
}

}  // namespace

Result<std::string> FindInstalled(const char* environment, const std::string& name) {
  if (const char* value = std::getenv(environment); value != nullptr && *value != '\0')
    return std::string(value);
  std::error_code ignored;
  const std::vector<fs::path> places = PlacesOf(name);
  for (const fs::path& place : places)
    if (fs::exists(place, ignored)) return place.string();
  return NotFound(fmt::format("found neither {} nor experiments/{} above it; set {}", places.front().string(),
                              name, environment));
}

Result<Dataset> LoadDataset(const std::string& spec, int64_t limit) {
  std::string path = spec;
  if (spec == "bundled") {
    RERANKD_ASSIGN_OR_RETURN(const std::string folder, FindInstalled("RERANKD_DATA_DIR", "data"));
    path = (fs::path(folder) / "bundled.jsonl").string();
  }
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return FromFolder(path, limit);
  auto bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status().WithContext("data set");
  Dataset dataset;
  dataset.info.name = spec == "bundled" ? spec : fs::path(path).filename().string();
  dataset.info.sha256 = Sha256(*bytes);
  RERANKD_RETURN_IF_ERROR(ReadPairs(path, *bytes, limit, &dataset).WithContext("data set"));
  if (dataset.pairs.empty()) return InvalidArgument(fmt::format("data set {} holds no pair", path));
  dataset.info.pairs = static_cast<int64_t>(dataset.pairs.size());
  return dataset;
}

}  // namespace rerankd::load
