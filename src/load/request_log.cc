#include "load/request_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/text.h"

namespace rerankd::load {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHeader =
    "index,first,pairs,intended_ms,sent_ms,latency_ms,outcome,status,retry_after_s,queue_ms,tokenize_ms,"
    "inference_ms,detail,data_sha256\n";

// What a reader with limits of its own can hold.
constexpr double kMaxIntendedMs = 1e12;
constexpr double kMaxPairs = 1e6;

std::string CsvText(std::string text) {
  for (char& c : text)
    if (c == ',' || c == '\n' || c == '\r' || c == '"') c = ' ';
  return text;
}

std::string Known(double value) { return value < 0 ? "" : fmt::format("{:.3f}", value); }

std::string CsvLine(const Sample& s, const std::string& dataset_sha256) {
  const Reply& r = s.reply;
  return fmt::format("{},{},{},{:.3f},{:.3f},{:.3f},{},{},{},{},{},{},{},{}\n", s.work.index, s.work.first,
                     s.work.pairs, s.intended_ms, s.sent_ms, s.latency_ms, OutcomeName(r.outcome), r.status,
                     Known(r.retry_after_s), Known(r.queue_ms), Known(r.tokenize_ms), Known(r.inference_ms),
                     CsvText(r.detail), dataset_sha256);
}

std::string JsonLine(const Sample& s, const std::string& dataset_sha256) {
  const Reply& r = s.reply;
  Json j = {{"index", s.work.index},
            {"first", s.work.first},
            {"pairs", s.work.pairs},
            {"intended_ms", s.intended_ms},
            {"sent_ms", s.sent_ms},
            {"latency_ms", s.latency_ms},
            {"outcome", OutcomeName(r.outcome)},
            {"status", r.status}};
  const std::pair<const char*, double> times[] = {{"retry_after_s", r.retry_after_s},
                                                  {"queue_ms", r.queue_ms},
                                                  {"tokenize_ms", r.tokenize_ms},
                                                  {"inference_ms", r.inference_ms}};
  for (const auto& [name, value] : times)
    if (value >= 0) j[name] = value;
  if (!r.detail.empty()) j["detail"] = r.detail;
  j["data_sha256"] = dataset_sha256;
  return j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool IsCsv(const std::string& path) { return path.ends_with(".csv"); }

double Number(std::string_view text) {
  double value = NAN;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size() ? value : NAN;
}

double Number(const Json& j, const char* key) {
  const auto it = j.find(key);
  return it != j.end() && it->is_number() ? it->get<double>() : NAN;
}

struct Fields {
  double index = NAN, first = NAN, pairs = NAN, intended_ms = NAN;
  std::string data_sha256;  // empty = not known
};

// Columns are known by their names, so that a log may lose or gain some.
class CsvReader {
 public:
  explicit CsvReader(const std::string& header) {
    for (const std::string_view name : Split(header, ',')) names_.emplace_back(name);
  }

  Fields Read(const std::string& line) const {
    const auto values = Split(line, ',');
    if (values.size() != names_.size()) return {};
    const auto value = [&](const char* name) {
      const auto at = std::find(names_.begin(), names_.end(), name) - names_.begin();
      return static_cast<size_t>(at) < values.size() ? values[static_cast<size_t>(at)] : std::string_view();
    };
    return {Number(value("index")), Number(value("first")), Number(value("pairs")),
            Number(value("intended_ms")), std::string(value("data_sha256"))};
  }

 private:
  std::vector<std::string> names_;
};

Fields FromJson(const std::string& line) {
  const Json j = Json::parse(line, nullptr, false);
  if (!j.is_object()) return {};
  const auto data = j.find("data_sha256");
  return {Number(j, "index"), Number(j, "first"), Number(j, "pairs"), Number(j, "intended_ms"),
          data != j.end() && data->is_string() ? data->get<std::string>() : std::string()};
}

// Comparisons with NaN are false, so that a missing number is out of range.
Result<Arrival> ArrivalOf(const Fields& f, const DatasetInfo& dataset) {
  if (!f.data_sha256.empty() && f.data_sha256 != dataset.sha256)
    return InvalidArgument(fmt::format(
        "sent texts of the data set with SHA-256 {}, but {} has {}: give the former as --data, or "
        "take data_sha256 out of the log to send other texts at the same times",
        f.data_sha256, dataset.name, dataset.sha256));
  if (!(f.index >= 0 && f.index < 1e15)) return InvalidArgument("index is missing or not a number from 0");
  if (!(f.first >= 0 && f.first < static_cast<double>(dataset.pairs)))
    return InvalidArgument(fmt::format("first is not a pair of the data set (0 to {})", dataset.pairs - 1));
  if (!(f.pairs >= 1 && f.pairs <= kMaxPairs)) return InvalidArgument("pairs is not from 1 to 1000000");
  if (!(f.intended_ms >= 0 && f.intended_ms <= kMaxIntendedMs))
    return InvalidArgument("intended_ms is missing or negative");
  return Arrival{FromMs(f.intended_ms),
                 {static_cast<int64_t>(f.index), static_cast<int64_t>(f.first), static_cast<int>(f.pairs)}};
}

}  // namespace

Status CheckLogName(const std::string& path) {
  if (IsCsv(path) || path.ends_with(".jsonl")) return {};
  return InvalidArgument(fmt::format("request log {}: its name must end in .csv or .jsonl", path));
}

RequestLog::RequestLog(std::string path, std::string dataset_sha256, std::FILE* file)
    : path_(std::move(path)), dataset_sha256_(std::move(dataset_sha256)), csv_(IsCsv(path_)), file_(file) {}

Result<std::unique_ptr<RequestLog>> RequestLog::Create(const std::string& path, std::string dataset_sha256) {
  RERANKD_RETURN_IF_ERROR(CheckLogName(path));
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return InvalidArgument(fmt::format("request log {}: {}", path, std::strerror(errno)));
  std::unique_ptr<RequestLog> log(new RequestLog(path, std::move(dataset_sha256), file));
  if (log->csv_) std::fputs(kHeader, file);
  return log;
}

void RequestLog::Write(const Sample& sample) {
  const std::string line = (csv_ ? CsvLine : JsonLine)(sample, dataset_sha256_);
  std::fwrite(line.data(), 1, line.size(), file_.get());
}

Status RequestLog::Close() {
  const bool failed = std::fflush(file_.get()) != 0 || std::ferror(file_.get()) != 0;
  const int error = errno;
  file_.reset();
  if (failed) return Internal(fmt::format("request log {} is incomplete: {}", path_, std::strerror(error)));
  return {};
}

Result<std::vector<Arrival>> ReadArrivals(const std::string& path, const DatasetInfo& dataset) {
  RERANKD_RETURN_IF_ERROR(CheckLogName(path));
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::vector<Arrival> arrivals;
  std::string line;
  std::optional<CsvReader> csv;
  while (reader.Next(&line)) {
    if (line.empty()) continue;
    if (IsCsv(path) && !csv) {
      csv.emplace(line);
      continue;
    }
    const auto arrival = ArrivalOf(csv ? csv->Read(line) : FromJson(line), dataset);
    if (!arrival.ok()) return arrival.status().WithContext(fmt::format("{}:{}", path, reader.line_number()));
    arrivals.push_back(*arrival);
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  if (arrivals.empty()) return InvalidArgument(fmt::format("{} holds no request", path));
  std::stable_sort(arrivals.begin(), arrivals.end(),
                   [](const Arrival& a, const Arrival& b) { return a.at < b.at; });
  return arrivals;
}

}  // namespace rerankd::load
