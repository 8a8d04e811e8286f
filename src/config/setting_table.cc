#include "config/setting_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace rerankd {
namespace {

constexpr double kMaxPort = 65535;
constexpr double kMaxCount = 1'000'000'000;
constexpr double kMaxMs = 86'400'000;  // a day

// The field of a row, as a function of the settings and of one instance of them.
#define SETTING(member) [](Settings& s, InstanceSettings&) -> SettingField { return &s.member; }
#define INSTANCE(member) [](Settings&, InstanceSettings& i) -> SettingField { return &i.member; }

std::vector<SettingRow> MakeModelRows() {
  return {
      {"model.name",
       INSTANCE(model),
       0,
       0,
       {},
       "--model",
       "Hugging Face id, local directory, or `default`, the bundled model"},
      {"model.aliases",
       INSTANCE(aliases),
       0,
       0,
       {},
       "",
       "other names by which requests may ask for the model; the last part of its name is one if it is "
       "unique"},
      {"model.backend",
       INSTANCE(backend),
       0,
       0,
       {"native", "pytorch", "mps", "cuda", "compiled", "onnx", "tensorrt", "openvino", "mlx", "fake"},
       "--backend",
       "what runs the model; `rerankd inspect` lists those of this build"},
      {"model.device",
       INSTANCE(device),
       0,
       0,
       {},
       "--device",
       "`cpu`, `cuda`, `cuda:N`, `mps`, or what the engine calls another (docs/backends.md)"},
      {"model.precision",
       INSTANCE(precision),
       0,
       0,
       {"auto", "fp32", "bf16", "fp16", "int8", "int4"},
       "--precision",
       "`auto` = what the model's files are made for; the report states what really ran"},
      {"model.max_length",
       INSTANCE(max_length),
       8,
       65536,
       {},
       "--max-length",
       "tokens of a pair; longer pairs are truncated"},
      {"model.threads",
       INSTANCE(threads),
       0,
       4096,
       {},
       "--threads",
       "workers of this instance; 0 = its share of the physical cores"},
      {"model.compile_mode",
       INSTANCE(compile_mode),
       0,
       0,
       {"", "default", "reduce-overhead", "max-autotune"},
       "",
       "optimisation of backend `compiled`; no effect on the others"},
      {"model.group_size",
       INSTANCE(group_size),
       32,
       128,
       {},
       "",
       "inputs that share a scale, 32, 64 or 128, in the int8 and int4 weights of backend `mlx`; no effect "
       "on the others"},
  };
}

std::vector<SettingRow> MakeServingRows() {
  return {
      {"name", SETTING(name), 0, 0, {}, "", "title of the report"},
      {"description", SETTING(description), 0, 0, {}, "", "subtitle of the report"},
      {"model_pool.routing_strategy",
       SETTING(routing_strategy),
       0,
       0,
       {"round_robin", "least_busy", "first_available", "first_idle", "smart_idle"},
       "",
       "which of several instances takes the next work"},
      {"pipeline.mode",
       SETTING(pipeline_mode),
       0,
       0,
       {"full", "tokenization_only", "inference_only"},
       "",
       "leave out a stage, to measure the other"},
      {"batching.enabled",
       SETTING(batching.enabled),
       0,
       0,
       {},
       "",
       "wait for more requests and run them together"},
      {"batching.max_batch_size",
       SETTING(batching.max_batch_size),
       1,
       65536,
       {},
       "",
       "requests (not pairs) in one dynamic batch"},
      {"batching.timeout_ms",
       SETTING(batching.timeout_ms),
       0,
       kMaxMs,
       {},
       "",
       "longest wait for more requests, ms"},
      {"batching.length_aware",
       SETTING(batching.length_aware),
       0,
       0,
       {},
       "",
       "sort the pairs of a batch by length; scores keep input order"},
      {"batching.max_batch_tokens",
       SETTING(batching.max_batch_tokens),
       0,
       1e12,
       {},
       "",
       "a dynamic batch is also full at this many tokens (estimated); 0 = no limit"},
      {"tokenizer_pool.num_workers",
       SETTING(tokenizer_pool.num_workers),
       1,
       4096,
       {},
       "",
       "tokenizer threads"},
      {"tokenizer_pool.model_name",
       SETTING(tokenizer_pool.model_name),
       0,
       0,
       {},
       "",
       "model whose tokenizer is used; empty = each model's own"},
      {"tokenizer_pool.tokenizers_parallelism",
       SETTING(tokenizer_pool.tokenizers_parallelism),
       0,
       0,
       {},
       "",
       "several tokenizer threads may work on one request"},
      {"scheduler.max_queue_ms",
       SETTING(scheduler.max_queue_ms),
       0,
       kMaxMs,
       {},
       "",
       "refuse a request whose estimated wait is longer, ms"},
      {"scheduler.max_queue_tokens",
       SETTING(scheduler.max_queue_tokens),
       0,
       1e15,
       {},
       "",
       "tokens that may wait, estimated; one request with more is refused for good; 0 = no limit of its own"},
      {"scheduler.max_queue_requests",
       SETTING(scheduler.max_queue_requests),
       1,
       kMaxCount,
       {},
       "",
       "requests that may wait"},
      {"scheduler.default_deadline_ms",
       SETTING(scheduler.default_deadline_ms),
       0,
       kMaxMs,
       {},
       "",
       "deadline of requests that bring none, ms; 0 = none"},
      {"scheduler.batch_tokens",
       SETTING(scheduler.batch_tokens),
       0,
       1 << 20,
       {},
       "",
       "tokens of a micro-batch; 0 = the backend's preference"},
      {"scheduler.max_quantum_ms",
       SETTING(scheduler.max_quantum_ms),
       0.1,
       kMaxMs,
       {},
       "",
       "longest micro-batch of a backend that pads, ms at the measured speed"},
      {"server.host",
       SETTING(server.host),
       0,
       0,
       {},
       "--host",
       "address to listen on, or a name: all of its addresses"},
      {"server.grpc_port",
       SETTING(server.grpc_port),
       -1,
       kMaxPort,
       {},
       "--grpc-port",
       "0 = any free port, -1 = no gRPC server"},
      {"server.http_port",
       SETTING(server.http_port),
       -1,
       kMaxPort,
       {},
       "--http-port",
       "0 = any free port, -1 = no HTTP server"},
      {"server.prometheus_port",
       SETTING(server.prometheus_port),
       -1,
       kMaxPort,
       {},
       "",
       "a second port for `/metrics`; -1 = none"},
      {"server.grpc_workers",
       SETTING(server.grpc_workers),
       1,
       4096,
       {},
       "",
       "without effect: gRPC sizes its thread pool itself"},
      {"server.strict_model_names",
       SETTING(server.strict_model_names),
       0,
       0,
       {},
       "",
       "refuse requests for a model that is not here; otherwise the default model answers them"},
  };
}

std::vector<SettingRow> MakeDocumentRows() {
  return {
      {"documents.overflow",
       SETTING(documents.overflow),
       0,
       0,
       {"truncate", "error", "max_window"},
       "",
       "a pair that is too long is cut, refused, or scored in windows of which the best counts"},
      {"documents.max_tokens_per_query",
       SETTING(documents.max_tokens_per_query),
       0,
       65536,
       {},
       "",
       "tokens of a query that count; 0 = no limit of its own"},
      {"documents.max_tokens_per_doc",
       SETTING(documents.max_tokens_per_doc),
       0,
       kMaxCount,
       {},
       "",
       "tokens of a document that count; 0 = no limit of its own"},
      {"documents.window",
       SETTING(documents.window),
       0,
       65536,
       {},
       "",
       "document tokens of a window; 0 = all the room that the query leaves"},
      {"documents.stride",
       SETTING(documents.stride),
       0,
       65536,
       {},
       "",
       "tokens from one window to the next; 0 = half a window"},
      {"documents.max_windows",
       SETTING(documents.max_windows),
       0,
       kMaxCount,
       {},
       "",
       "windows of one document; the rest is not looked at and the result says `truncated`; 0 = no limit"},
      {"documents.merge_equal",
       SETTING(documents.merge_equal),
       0,
       0,
       {},
       "",
       "score equal documents of a query once"},
      {"cache.documents",
       SETTING(cache.documents_mib),
       0,
       1 << 20,
       {},
       "",
       "MiB for token ids of documents; 0 = off"},
      {"cache.scores",
       SETTING(cache.scores_mib),
       0,
       1 << 20,
       {},
       "",
       "MiB for scores of (query, document) pairs; 0 = off"},
  };
}

std::vector<SettingRow> MakeLimitRows() {
  return {
      {"server.max_documents", SETTING(server.max_documents), 1, kMaxCount, {}, "", "pairs in one request"},
      {"server.max_body_bytes",
       SETTING(server.max_body_bytes),
       1024,
       1e12,
       {},
       "",
       "largest request body, after decompression"},
      {"server.max_buffered_bytes",
       SETTING(server.max_buffered_bytes),
       1024,
       1e12,
       {},
       "",
       "bodies and replies that both servers hold, together; more bodies are refused with 429"},
      {"server.max_header_bytes",
       SETTING(server.max_header_bytes),
       1024,
       1 << 20,
       {},
       "",
       "largest header of an HTTP request"},
      {"server.max_connections",
       SETTING(server.max_connections),
       1,
       kMaxCount,
       {},
       "",
       "connections at once to HTTP, and as many to gRPC; further ones to HTTP take the place of the longest "
       "idle one, the others wait"},
      {"server.header_timeout_ms",
       SETTING(server.header_timeout_ms),
       1,
       kMaxMs,
       {},
       "",
       "first byte of an HTTP request (or the TLS handshake) until its header is complete, ms"},
      {"server.body_timeout_ms",
       SETTING(server.body_timeout_ms),
       1,
       kMaxMs,
       {},
       "",
       "longest time for the whole body, ms"},
      {"server.write_timeout_ms",
       SETTING(server.write_timeout_ms),
       1,
       kMaxMs,
       {},
       "",
       "longest time for the whole reply, ms"},
      {"server.idle_timeout_ms",
       SETTING(server.idle_timeout_ms),
       1,
       kMaxMs,
       {},
       "",
       "a connection without a request is closed after this, ms"},
  };
}

std::vector<SettingRow> MakeSecurityRows() {
  return {
      {"server.api_key_file",
       SETTING(server.api_key_file),
       0,
       0,
       {},
       "--api-key-file",
       "file of API keys (`rerankd key`); empty = no keys are asked for"},
      {"server.tls.cert",
       SETTING(server.tls_cert),
       0,
       0,
       {},
       "--tls-cert",
       "PEM file with the certificate chain: HTTP and gRPC speak TLS"},
      {"server.tls.key", SETTING(server.tls_key), 0, 0, {}, "--tls-key", "PEM file with its private key"},
      {"server.cors",
       SETTING(server.cors),
       0,
       0,
       {},
       "",
       "origins whose pages may call the HTTP API, or `*`; empty = none"},
      {"server.unix_socket",
       SETTING(server.unix_socket),
       0,
       0,
       {},
       "--unix-socket",
       "path of a Unix socket that speaks HTTP too"},
      {"server.access_log",
       SETTING(server.access_log),
       0,
       0,
       {},
       "--access-log",
       "one JSON line a request: `off`, `stderr` or a file"},
  };
}

std::vector<SettingRow> MakeMetricsRows() {
  return {
      {"metrics.reference_names",
       SETTING(metrics.reference_names),
       0,
       0,
       {},
       "",
       "`/metrics` has the series of the reference system too, under its names"},
  };
}

std::vector<SettingRow> MakeExperimentRows() {
  return {
      {"experiment.batch_sizes",
       SETTING(experiment.batch_sizes),
       1,
       65536,
       {},
       "",
       "pairs of a request; outer loop of the grid"},
      {"experiment.concurrency_levels",
       SETTING(experiment.concurrency_levels),
       1,
       4096,
       {},
       "",
       "requests in flight; inner loop of the grid"},
      {"experiment.benchmark_requests",
       SETTING(experiment.benchmark_requests),
       1,
       kMaxCount,
       {},
       "",
       "measured requests of a cell"},
      {"experiment.benchmark_duration_s",
       SETTING(experiment.benchmark_duration_s),
       0.001,
       86400,
       {},
       "",
       "run a cell by time instead of by count, s"},
      {"experiment.warmup_iterations",
       SETTING(experiment.warmup_iterations),
       0,
       kMaxCount,
       {},
       "",
       "unmeasured requests, one after another, before each cell"},
      {"experiment.prefill_requests",
       SETTING(experiment.prefill_requests),
       0,
       kMaxCount,
       {},
       "",
       "unmeasured requests at the cell's concurrency before the clock starts"},
      {"experiment.dataset_size",
       SETTING(experiment.dataset_size),
       1,
       kMaxCount,
       {},
       "",
       "pairs to load at most"},
      {"experiment.dataset",
       SETTING(experiment.dataset),
       0,
       0,
       {},
       "",
       "`bundled`, a file of pairs (.jsonl, .tsv, .json) or a BEIR folder (relative to the configuration "
       "file)"},
      {"experiment.load",
       SETTING(experiment.load),
       0,
       0,
       {"closed", "open"},
       "",
       "`closed`: `concurrency_levels` requests in flight; `open`: requests are due at `rates`, whatever "
       "became of the ones before"},
      {"experiment.rates",
       SETTING(experiment.rates),
       0,
       0,
       {},
       "",
       "open loop: requests a second, or shares of what a closed loop reaches (`80%`); inner loop of the "
       "grid"},
      {"experiment.arrivals",
       SETTING(experiment.arrivals),
       0,
       0,
       {"poisson", "constant"},
       "",
       "open loop: when requests are due"},
      {"experiment.seed", SETTING(experiment.seed), 0, kMaxCount, {}, "", "of Poisson arrivals"},
      {"experiment.repeats",
       SETTING(experiment.repeats),
       1,
       1000,
       {},
       "",
       "how often the whole grid is run, on one server: intervals are then over the repeats"},
      {"experiment.targets",
       SETTING(experiment.targets),
       0,
       0,
       {},
       "",
       "servers that are running already, measured one after another instead of one of our own: `tei "
       "http://host:8080`, "
       "protocols as in `rerankd load`"},
      {"experiment.api_key_file",
       SETTING(experiment.api_key_file),
       0,
       0,
       {},
       "",
       "file with the key that is sent to `targets` (relative to the configuration file)"},
      {"experiment.ca_file",
       SETTING(experiment.ca_file),
       0,
       0,
       {},
       "",
       "PEM of the authorities that `targets` with TLS (`https://`, `grpcs://`) may have, instead of the "
       "system's (relative to the configuration file)"},
      {"experiment.background.batch_size",
       SETTING(experiment.background.batch_size),
       0,
       65536,
       {},
       "",
       "pairs of a request of a second, unmeasured closed loop beside the measured one; 0 = none"},
      {"experiment.background.concurrency",
       SETTING(experiment.background.concurrency),
       1,
       4096,
       {},
       "",
       "its requests in flight"},
      {"experiment.quality.data",
       SETTING(experiment.quality.data),
       0,
       0,
       {},
       "",
       "measure the ranking too: `bundled`, or a folder with `queries.jsonl`, `corpus.jsonl`, a TREC run to "
       "re-rank and qrels (relative to the configuration file)"},
      {"experiment.quality.scores",
       SETTING(experiment.quality.scores),
       0,
       0,
       {},
       "",
       "a TREC run whose order and scores are compared"},
      {"experiment.quality.against_fp32",
       SETTING(experiment.quality.against_fp32),
       0,
       0,
       {},
       "",
       "compare with the same model in fp32"},
      {"experiment.quality.queries",
       SETTING(experiment.quality.queries),
       0,
       kMaxCount,
       {},
       "",
       "queries to rank at most; 0 = all"},
      {"experiment.quality.documents",
       SETTING(experiment.quality.documents),
       1,
       65536,
       {},
       "",
       "documents of a query to rank at most"},
  };
}
#undef SETTING
#undef INSTANCE

std::vector<SettingRow> MakeTable() {
  std::vector<SettingRow> table = MakeServingRows();
  for (auto rows : {MakeLimitRows(), MakeSecurityRows(), MakeDocumentRows(), MakeModelRows(),
                    MakeMetricsRows(), MakeExperimentRows()})
    table.insert(table.end(), rows.begin(), rows.end());
  return table;
}

SettingField DefaultField(const SettingRow& row, Settings* settings) {
  return row.field(*settings, settings->instances.front());
}

std::string FormatNumber(double value) { return fmt::format("{}", value); }

Status Refuse(const SettingRow& row, const ConfigValue& value, const std::string& text) {
  return InvalidArgument(fmt::format("{}: {}: '{}' is not {}", value.where, row.key, text, row.range_text()));
}

template <typename T>
bool ParseNumber(const std::string& text, T* out) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, *out);
  return error == std::errc() && stop == end && begin != end;
}

template <typename T>
Status ParseNumeric(const SettingRow& row, const ConfigValue& value, const std::string& text, T* out) {
  T number{};
  if (!ParseNumber(text, &number)) return Refuse(row, value, text);
  const double as_double = static_cast<double>(number);
  if (!(as_double >= row.min && as_double <= row.max)) return Refuse(row, value, text);
  *out = number;
  return {};
}

Status ParseBool(const SettingRow& row, const ConfigValue& value, bool* out) {
  std::string text = value.scalar();
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool yes = text == "true" || text == "yes" || text == "on" || text == "1";
  const bool no = text == "false" || text == "no" || text == "off" || text == "0";
  if (!yes && !no) return Refuse(row, value, value.scalar());
  *out = yes;
  return {};
}

Status ParseText(const SettingRow& row, const ConfigValue& value, std::string* out) {
  const std::string& text = value.scalar();
  const auto& choices = row.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
    return InvalidArgument(Refuse(row, value, text).message() + Hint(text, choices));
  *out = text;
  return {};
}

// A list of the file, or "1,2,4" from a flag or the environment.
std::vector<std::string> ListItems(const ConfigValue& value) {
  if (value.is_list) return value.items;
  std::vector<std::string> items;
  if (value.scalar().empty()) return items;
  for (std::string_view part : Split(value.scalar(), ',')) items.emplace_back(part);
  return items;
}

Status ParseList(const SettingRow& row, const ConfigValue& value, std::vector<int>* out) {
  const std::vector<std::string> items = ListItems(value);
  if (items.empty())
    return InvalidArgument(
        fmt::format("{}: {}: the list is empty; give at least one number", value.where, row.key));
  std::vector<int> numbers(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    RERANKD_RETURN_IF_ERROR(ParseNumeric(row, value, items[i], &numbers[i]));
  *out = std::move(numbers);
  return {};
}

struct Parser {
  const SettingRow& row;
  const ConfigValue& value;

  Status operator()(int* out) const { return ParseNumeric(row, value, value.scalar(), out); }
  Status operator()(int64_t* out) const { return ParseNumeric(row, value, value.scalar(), out); }
  Status operator()(double* out) const { return ParseNumeric(row, value, value.scalar(), out); }
  Status operator()(bool* out) const { return ParseBool(row, value, out); }
  Status operator()(std::string* out) const { return ParseText(row, value, out); }
  Status operator()(std::vector<int>* out) const { return ParseList(row, value, out); }
  Status operator()(std::vector<std::string>* out) const {
    *out = ListItems(value);
    return {};
  }
  Status operator()(std::optional<double>* out) const {
    if (value.scalar().empty()) {
      out->reset();
      return {};
    }
    double number = 0;
    RERANKD_RETURN_IF_ERROR(ParseNumeric(row, value, value.scalar(), &number));
    *out = number;
    return {};
  }
};

struct Formatter {
  std::string operator()(const int* v) const { return std::to_string(*v); }
  std::string operator()(const int64_t* v) const { return std::to_string(*v); }
  std::string operator()(const double* v) const { return FormatNumber(*v); }
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const std::string* v) const { return YamlQuote(*v); }
  std::string operator()(const std::vector<int>* v) const { return fmt::format("[{}]", fmt::join(*v, ", ")); }
  std::string operator()(const std::vector<std::string>* v) const {
    std::vector<std::string> quoted;
    for (const std::string& text : *v) quoted.push_back(YamlQuote(text));
    return "[" + Join(quoted, ", ") + "]";
  }
  std::string operator()(const std::optional<double>* v) const { return *v ? FormatNumber(**v) : "null"; }
};

struct TypeName {
  std::string operator()(const int*) const { return "int"; }
  std::string operator()(const int64_t*) const { return "int"; }
  std::string operator()(const double*) const { return "number"; }
  std::string operator()(const bool*) const { return "bool"; }
  std::string operator()(const std::string*) const { return "text"; }
  std::string operator()(const std::vector<int>*) const { return "list of int"; }
  std::string operator()(const std::vector<std::string>*) const { return "list of text"; }
  std::string operator()(const std::optional<double>*) const { return "number"; }
};

std::string ChoicesText(const std::vector<std::string>& choices) {
  std::vector<std::string> shown;
  for (const std::string& choice : choices) shown.push_back(choice.empty() ? "empty" : choice);
  return "one of " + Join(shown, ", ");
}

}  // namespace

std::string SettingRow::environment_name() const {
  if (key.find('.') == std::string::npos) return "";
  std::string name = "RERANKD_";
  for (const char c : key) {
    if (c == '.')
      name += "__";
    else
      name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string SettingRow::type_name() const {
  Settings settings;
  return std::visit(TypeName{}, DefaultField(*this, &settings));
}

std::string SettingRow::range_text() const {
  const std::string type = type_name();
  if (type == "bool") return "true or false";
  if (type == "text") return choices.empty() ? "text" : ChoicesText(choices);
  if (type == "list of text") return "";
  return fmt::format("{} from {} to {}", type == "number" ? "a number" : "an integer", FormatNumber(min),
                     FormatNumber(max));
}

std::string SettingRow::default_text() const {
  Settings settings;
  return FormatSetting(DefaultField(*this, &settings));
}

const std::vector<SettingRow>& SettingTable() {
  static const std::vector<SettingRow> table = MakeTable();
  return table;
}

const SettingRow* FindSetting(std::string_view key) {
  for (const SettingRow& row : SettingTable())
    if (row.key == key) return &row;
  return nullptr;
}

bool HoldsList(const SettingRow& row) {
  Settings settings;
  return std::visit(
      [](auto* field) {
        return std::is_same_v<decltype(field), std::vector<int>*> ||
               std::is_same_v<decltype(field), std::vector<std::string>*>;
      },
      DefaultField(row, &settings));
}

Status ParseSetting(const SettingRow& row, const ConfigValue& value, SettingField field) {
  if (value.is_list && !HoldsList(row))
    return InvalidArgument(
        fmt::format("{}: {}: a list stands where {} belongs", value.where, row.key, row.range_text()));
  return std::visit(Parser{row, value}, field);
}

std::string FormatSetting(SettingField field) { return std::visit(Formatter{}, field); }

}  // namespace rerankd
