#include "load/request_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"

namespace rerankd::load {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHeader =
    "index,first,pairs,intended_ms,sent_ms,latency_ms,outcome,status,retry_after_s,queue_ms,tokenize_ms,"
    "inference_ms,detail\n";
constexpr size_t kColumns = 13;

// What a reader with limits of its own can hold.
constexpr double kMaxIntendedMs = 1e12;
constexpr double kMaxPairs = 1e6;

std::string CsvText(std::string text) {
  for (char& c : text)
    if (c == ',' || c == '\n' || c == '\r' || c == '"') c = ' ';
  return text;
}

std::string Known(double value) { return value < 0 ? "" : fmt::format("{:.3f}", value); }

std::string CsvLine(const Sample& s) {
  const Reply& r = s.reply;
  return fmt::format("{},{},{},{:.3f},{:.3f},{:.3f},{},{},{},{},{},{},{}\n", s.work.index, s.work.first,
                     s.work.pairs, s.intended_ms, s.sent_ms, s.latency_ms, OutcomeName(r.outcome), r.status,
                     Known(r.retry_after_s), Known(r.queue_ms), Known(r.tokenize_ms), Known(r.inference_ms),
                     CsvText(r.detail));
}

std::string JsonLine(const Sample& s) {
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
  double index, first, pairs, intended_ms;
};

Fields FromCsv(const std::string& line) {
  const auto columns = Split(line, ',');
  if (columns.size() != kColumns) return {NAN, NAN, NAN, NAN};
  return {Number(columns[0]), Number(columns[1]), Number(columns[2]), Number(columns[3])};
}

Fields FromJson(const std::string& line) {
  const Json j = Json::parse(line, nullptr, false);
  if (!j.is_object()) return {NAN, NAN, NAN, NAN};
  return {Number(j, "index"), Number(j, "first"), Number(j, "pairs"), Number(j, "intended_ms")};
}

// Comparisons with NaN are false, so that a missing number is out of range.
Result<Arrival> ArrivalOf(const Fields& f, int64_t dataset_pairs) {
  if (!(f.index >= 0 && f.index < 1e15)) return InvalidArgument("index is missing or not a number from 0");
  if (!(f.first >= 0 && f.first < static_cast<double>(dataset_pairs)))
    return InvalidArgument(fmt::format("first is not a pair of the data set (0 to {})", dataset_pairs - 1));
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

Result<std::unique_ptr<RequestLog>> RequestLog::Create(const std::string& path) {
  RERANKD_RETURN_IF_ERROR(CheckLogName(path));
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return InvalidArgument(fmt::format("request log {}: {}", path, std::strerror(errno)));
  std::unique_ptr<RequestLog> log(new RequestLog(path, IsCsv(path), file));
  if (log->csv_) std::fputs(kHeader, file);
  return log;
}

void RequestLog::Write(const Sample& sample) {
  const std::string line = csv_ ? CsvLine(sample) : JsonLine(sample);
  std::fwrite(line.data(), 1, line.size(), file_.get());
}

Status RequestLog::Close() {
  const bool failed = std::fflush(file_.get()) != 0 || std::ferror(file_.get()) != 0;
  const int error = errno;
  file_.reset();
  if (failed) return Internal(fmt::format("request log {} is incomplete: {}", path_, std::strerror(error)));
  return {};
}

Result<std::vector<Arrival>> ReadArrivals(const std::string& path, int64_t dataset_pairs) {
  RERANKD_RETURN_IF_ERROR(CheckLogName(path));
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::vector<Arrival> arrivals;
  std::string line;
  while (reader.Next(&line)) {
    if (line.empty() || (IsCsv(path) && reader.line_number() == 1)) continue;
    const auto arrival = ArrivalOf(IsCsv(path) ? FromCsv(line) : FromJson(line), dataset_pairs);
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
