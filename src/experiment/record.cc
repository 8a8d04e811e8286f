#include "experiment/record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace rerankd::experiment {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "rerankd-experiment";
constexpr int kVersion = 1;

Json ToJson(const RequestSample& s) {
  Json j = {{"index", s.index},
            {"start_ms", s.start_ms},
            {"latency_ms", s.latency_ms},
            {"pairs", s.pairs},
            {"queue_ms", s.queue_ms},
            {"tokenize_ms", s.tokenize_ms},
            {"inference_ms", s.inference_ms}};
  if (s.repeat > 0) j["repeat"] = s.repeat;
  if (s.late_ms > 0) j["late_ms"] = s.late_ms;
  if (!s.error.empty()) j["error"] = s.error;
  return j;
}

RequestSample SampleFrom(const Json& j) {
  RequestSample s;
  s.index = j.at("index");
  s.start_ms = j.at("start_ms");
  s.latency_ms = j.at("latency_ms");
  s.pairs = j.at("pairs");
  s.queue_ms = j.at("queue_ms");
  s.tokenize_ms = j.at("tokenize_ms");
  s.inference_ms = j.at("inference_ms");
  s.repeat = j.value("repeat", 0);
  s.late_ms = j.value("late_ms", 0.0);
  s.error = j.value("error", "");
  return s;
}

Json ToJson(const load::MachineSpeed& s) { return {{"step_ns", s.step_ns}, {"disturbance", s.disturbance}}; }

load::MachineSpeed SpeedFrom(const Json& j) { return {j.at("step_ns"), j.at("disturbance")}; }

Json ToJson(const RepeatRecord& r) {
  return {{"seconds", r.seconds}, {"before", ToJson(r.before)}, {"after", ToJson(r.after)}};
}

RepeatRecord RepeatFrom(const Json& j) {
  return {j.at("seconds"), SpeedFrom(j.at("before")), SpeedFrom(j.at("after"))};
}

Json ToJson(const AgreementRecord& a) {
  Json j = {{"queries", a.queries},
            {"spearman", a.spearman},
            {"kendall_tau", a.kendall_tau},
            {"top10_overlap", a.top10_overlap},
            {"mean_difference", a.mean_difference},
            {"max_difference", a.max_difference}};
  if (a.has_ndcg) j["ndcg10_change"] = {a.ndcg10_change, a.ndcg10_low, a.ndcg10_high};
  return j;
}

std::optional<AgreementRecord> AgreementFrom(const Json& j) {
  if (j.is_null()) return std::nullopt;
  AgreementRecord a;
  a.queries = j.at("queries");
  a.spearman = j.at("spearman");
  a.kendall_tau = j.at("kendall_tau");
  a.top10_overlap = j.at("top10_overlap");
  a.mean_difference = j.at("mean_difference");
  a.max_difference = j.at("max_difference");
  a.has_ndcg = j.contains("ndcg10_change");
  if (!a.has_ndcg) return a;
  const Json& change = j["ndcg10_change"];
  a.ndcg10_change = change.at(0);
  a.ndcg10_low = change.at(1);
  a.ndcg10_high = change.at(2);
  return a;
}

Json ToJson(const QualityRecord& q) {
  Json j = {{"data", q.data}, {"error", q.error}, {"queries", q.queries}, {"pairs", q.pairs}};
  if (q.has_qrels) {
    j["ndcg10"] = q.ndcg10;
    j["mrr10"] = q.mrr10;
    j["first_stage_ndcg10"] = q.first_stage_ndcg10;
    j["first_stage_mrr10"] = q.first_stage_mrr10;
  }
  j["fp32"] = q.fp32 ? ToJson(*q.fp32) : Json(nullptr);
  j["given"] = q.given ? ToJson(*q.given) : Json(nullptr);
  for (const QueryQuality& query : q.by_query) j["by_query"][query.id] = {query.ndcg10, query.mrr10};
  return j;
}

QualityRecord QualityFrom(const Json& j) {
  QualityRecord q;
  q.data = j.at("data");
  q.error = j.at("error");
  q.queries = j.at("queries");
  q.pairs = j.at("pairs");
  q.has_qrels = j.contains("ndcg10");
  if (q.has_qrels) {
    q.ndcg10 = j.at("ndcg10");
    q.mrr10 = j.at("mrr10");
    q.first_stage_ndcg10 = j.at("first_stage_ndcg10");
    q.first_stage_mrr10 = j.at("first_stage_mrr10");
  }
  q.fp32 = AgreementFrom(j.at("fp32"));
  q.given = AgreementFrom(j.at("given"));
  if (j.contains("by_query"))
    for (const auto& item : j["by_query"].items())
      q.by_query.push_back({item.key(), item.value().at(0), item.value().at(1)});
  return q;
}

Json ToJson(const CellRecord& c) {
  Json j = {{"batch", c.batch},
            {"concurrency", c.concurrency},
            {"seconds", c.seconds},
            {"error", c.error},
            {"skipped", c.skipped},
            {"note", c.note},
            {"client_cpu_s", c.client_cpu_s},
            {"server_cpu_s", c.server_cpu_s},
            {"server_resident_bytes", c.server_resident_bytes},
            {"real_tokens", c.real_tokens},
            {"computed_tokens", c.computed_tokens},
            {"multiply_adds", c.multiply_adds},
            {"repeats", Json::array()},
            {"requests", Json::array()}};
  if (c.open()) j["open"] = {{"name", c.rate_name}, {"rate", c.rate}, {"capacity", c.capacity}};
  for (const RepeatRecord& repeat : c.repeats) j["repeats"].push_back(ToJson(repeat));
  for (const RequestSample& sample : c.requests) j["requests"].push_back(ToJson(sample));
  return j;
}

CellRecord CellFrom(const Json& j) {
  CellRecord c;
  c.batch = j.at("batch");
  c.concurrency = j.at("concurrency");
  c.seconds = j.at("seconds");
  c.error = j.at("error");
  c.skipped = j.at("skipped");
  c.note = j.at("note");
  c.client_cpu_s = j.at("client_cpu_s");
  c.server_cpu_s = j.at("server_cpu_s");
  c.real_tokens = j.at("real_tokens");
  c.computed_tokens = j.at("computed_tokens");
  c.multiply_adds = j.value("multiply_adds", -1.0);  // results of earlier versions have none
  c.server_resident_bytes = j.value("server_resident_bytes", int64_t{-1});  // nor this
  if (j.contains("open")) {
    c.rate_name = j["open"].at("name");
    c.rate = j["open"].at("rate");
    c.capacity = j["open"].at("capacity");
  }
  if (j.contains("repeats"))  // nor these
    for (const Json& repeat : j["repeats"]) c.repeats.push_back(RepeatFrom(repeat));
  for (const Json& sample : j.at("requests")) c.requests.push_back(SampleFrom(sample));
  return c;
}

Json ToJson(const NamedValues& values) {
  Json j = Json::object();
  for (const auto& [name, value] : values) j[name] = value;
  return j;
}

NamedValues NamedFrom(const Json& j) {
  NamedValues values;
  for (const auto& item : j.items()) values.emplace_back(item.key(), item.value().get<std::string>());
  return values;
}

Json ToJson(const load::DatasetInfo& d) {
  return {{"name", d.name}, {"sha256", d.sha256}, {"pairs", d.pairs}, {"bytes", d.bytes}};
}

load::DatasetInfo DatasetFrom(const Json& j) {
  load::DatasetInfo d;
  d.name = j.at("name");
  d.sha256 = j.at("sha256");
  d.pairs = j.at("pairs");
  d.bytes = j.at("bytes");
  return d;
}

Json ToJson(const TokenLengths& t) {
  return {{"pairs", t.pairs}, {"mean", t.mean}, {"min", t.min}, {"p50", t.p50},
          {"p95", t.p95},     {"p99", t.p99},   {"max", t.max}};
}

TokenLengths LengthsFrom(const Json& j) {
  return {j.at("pairs"), j.at("mean"), j.at("min"), j.at("p50"), j.at("p95"), j.at("p99"), j.at("max")};
}

Json ToJson(const RunRecord& r) {
  Json j = {{"label", r.label},
            {"name", r.name},
            {"description", r.description},
            {"timestamp", r.timestamp},
            {"model", r.model},
            {"backend", r.backend},
            {"device", r.device},
            {"batching", r.batching},
            {"batching_max", r.batching_max},
            {"batching_timeout_ms", r.batching_timeout_ms},
            {"dataset", ToJson(r.dataset)},
            {"server", ToJson(r.server)},
            {"instances", r.instances},
            {"configuration", r.configuration},
            {"metrics", Json::parse(r.metrics_json, nullptr, false)},
            {"cells", Json::array()}};
  if (j["metrics"].is_discarded()) j["metrics"] = nullptr;
  if (!r.model_sha256.empty()) j["model_sha256"] = r.model_sha256;
  if (r.token_lengths) j["token_lengths"] = ToJson(*r.token_lengths);
  if (r.quality) j["quality"] = ToJson(*r.quality);
  for (const CellRecord& cell : r.cells) j["cells"].push_back(ToJson(cell));
  return j;
}

RunRecord RunFrom(const Json& j) {
  RunRecord r;
  r.label = j.at("label");
  r.name = j.at("name");
  r.description = j.at("description");
  r.timestamp = j.at("timestamp");
  r.model = j.at("model");
  r.model_sha256 = j.value("model_sha256", "");
  r.backend = j.at("backend");
  r.device = j.at("device");
  r.batching = j.at("batching");
  r.batching_max = j.at("batching_max");
  r.batching_timeout_ms = j.at("batching_timeout_ms");
  r.dataset = DatasetFrom(j.at("dataset"));
  r.server = NamedFrom(j.at("server"));
  r.instances = j.at("instances").get<std::vector<std::string>>();
  r.configuration = j.at("configuration");
  if (!j.at("metrics").is_null()) r.metrics_json = j.at("metrics").dump();
  if (j.contains("token_lengths")) r.token_lengths = LengthsFrom(j["token_lengths"]);
  if (j.contains("quality")) r.quality = QualityFrom(j["quality"]);
  for (const Json& cell : j.at("cells")) r.cells.push_back(CellFrom(cell));
  return r;
}

ExperimentRecord RecordFrom(const Json& j) {
  ExperimentRecord record;
  record.stem = j.at("stem");
  record.partial = j.at("partial");
  record.environment = NamedFrom(j.at("environment"));
  record.warnings = j.at("warnings").get<std::vector<std::string>>();
  for (const Json& run : j.at("runs")) record.runs.push_back(RunFrom(run));
  return record;
}

// Readers of other programs' JSON: a missing or mistyped value is the default.
double Number(const Json& j, const char* key, double fallback) {
  const auto it = j.is_object() ? j.find(key) : j.end();
  return it != j.end() && it->is_number() ? it->get<double>() : fallback;
}

std::string Text(const Json& j, const char* key) {
  const auto it = j.is_object() ? j.find(key) : j.end();
  if (it == j.end()) return "";
  return it->is_string() ? it->get<std::string>() : it->dump();
}

const Json& Object(const Json& j, const char* key) {
  static const Json kEmpty = Json::object();
  const auto it = j.is_object() ? j.find(key) : j.end();
  return it != j.end() && (it->is_object() || it->is_array()) ? *it : kEmpty;
}

std::vector<double> NumbersOf(const Json& array) {
  std::vector<double> numbers;
  if (!array.is_array()) return numbers;
  for (const Json& item : array)
    if (item.is_number()) numbers.push_back(item.get<double>());
  return numbers;
}

void ReadStages(const Json& j, ServerMetrics* m) {
  const std::pair<const char*, const char*> kStages[] = {
      {"tokenize", "tokenize_pct"}, {"queue_wait", "queue_wait_pct"}, {"model_inference", "inference_pct"}};
  const Json& percentages = Object(j, "stage_percentages");
  if (percentages.empty()) return;
  for (const auto& [stage, percent] : kStages) {
    const Json& values = Object(Object(j, "stage_breakdown"), stage);
    m->stages[stage] = {Number(values, "avg_ms", 0), Number(values, "p50_ms", 0), Number(values, "p95_ms", 0),
                        Number(values, "p99_ms", 0), Number(percentages, percent, 0)};
  }
  m->stages["other"].percent = Number(percentages, "other_pct", 0);
}

void ReadWorkers(const Json& j, ServerMetrics* m) {
  const Json& workers = Object(j, "worker_stats");
  if (!workers.is_array()) return;
  for (const Json& w : workers)
    m->workers.push_back({Text(w, "worker_id"), Number(w, "avg_ms", 0), Number(w, "p95_ms", 0),
                          Number(w, "throughput_qps", 0), static_cast<int64_t>(Number(w, "query_count", 0))});
}

}  // namespace

std::string RecordToJson(const ExperimentRecord& record) {
  Json j = {{"format", kFormat},
            {"version", kVersion},
            {"stem", record.stem},
            {"partial", record.partial},
            {"environment", ToJson(record.environment)},
            {"warnings", record.warnings},
            {"runs", Json::array()}};
  for (const RunRecord& run : record.runs) j["runs"].push_back(ToJson(run));
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ExperimentRecord> RecordFromJson(const std::string& text) {
  try {
    const Json j = Json::parse(text);
    if (!j.is_object() || j.value("format", "") != kFormat)
      return InvalidArgument("not the raw data of an experiment (no \"format\": \"rerankd-experiment\")");
    if (j.at("version") != kVersion)
      return InvalidArgument(fmt::format("raw data of version {}; this program reads version {}",
                                         j.at("version").dump(), kVersion));
    return RecordFrom(j);
  } catch (const Json::exception& e) {
    return InvalidArgument(fmt::format("raw data is damaged: {}", e.what()));
  }
}

std::vector<std::string> ParseInstances(const std::string& info_json) {
  const Json j = Json::parse(info_json, nullptr, false);
  std::vector<std::string> texts;
  const Json& list = Object(Object(j, "rerankd"), "instances");
  if (!list.is_array()) return texts;
  for (const Json& i : list)
    texts.push_back(fmt::format("{}: {} on {}, {}, {} workers ({})", Text(i, "name"), Text(i, "backend"),
                                Text(i, "device"), Text(i, "precision"), Text(i, "workers"),
                                Text(i, "details")));
  return texts;
}

Result<ServerMetrics> ParseServerMetrics(const std::string& json) {
  const Json j = Json::parse(json, nullptr, false);
  if (!j.is_object()) return InvalidArgument("the server's metrics are not a JSON object");
  ServerMetrics m;
  const Json& own = Object(j, "rerankd");
  for (const Json* history : {&Object(j, "history"), &Object(own, "history")})
    for (const auto& item : history->items()) m.history[item.key()] = NumbersOf(item.value());
  ReadStages(j, &m);
  ReadWorkers(j, &m);
  m.real_tokens = static_cast<int64_t>(Number(Object(own, "tokens"), "real", -1));
  m.computed_tokens = static_cast<int64_t>(Number(Object(own, "tokens"), "computed", -1));
  m.multiply_adds = Number(own, "multiply_adds", -1);
  m.peak_multiply_adds_per_s = Number(own, "peak_multiply_adds_per_s", -1);
  m.worker_utilization_pct = Number(own, "worker_utilization_pct", -1);
  m.padded_waste_pct = Number(Object(j, "padding_analysis"), "avg_padding_pct", -1);
  m.backend = Text(j, "backend_type");
  m.device = Text(j, "device");
  return m;
}

}  // namespace rerankd::experiment
