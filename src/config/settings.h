// The typed form of the configuration: what YAML, flags and environment become before anything starts.
// Every field is a row of the table in setting_table.cc (key, range, flag, help), from which parsing,
// environment names, the YAML dump and docs/settings.md are made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rerankd {

struct InstanceSettings {
  std::string model = "default";     // Hugging Face id, local directory, or a bundled model's name
  std::vector<std::string> aliases;  // other names by which requests may ask for the model
  std::string backend = "native";
  std::string device = "cpu";
  std::string precision = "auto";  // auto, fp32, bf16, fp16, int8, int4; what runs: Engine::instances()
  int max_length = 512;            // tokens of a pair
  int threads = 0;                 // workers of this instance; 0 = the instance's share of the physical cores
  std::string compile_mode;        // backend "compiled" only; empty = its default
  int group_size = 64;             // backend "mlx" at int8 and int4: inputs that share a scale; 32, 64, 128
};

struct BatchingSettings {
  bool enabled = false;
  int max_batch_size = 8;  // requests
  double timeout_ms = 100;
  bool length_aware = false;
  int64_t max_batch_tokens = 0;  // 0 = no limit
};

struct TokenizerPoolSettings {
  int num_workers = 1;
  std::string model_name;  // empty: each model's own
  bool tokenizers_parallelism = true;
};

struct SchedulerSettings {
  double max_queue_ms = 30000;         // refuse a request whose estimated wait is longer
  int64_t max_queue_tokens = 1 << 24;  // about 100 MB of token ids; 0 = no limit of its own
  int max_queue_requests = 4096;
  double default_deadline_ms = 0;  // 0 = none
  int batch_tokens = 0;            // micro-batch size; 0 = the backend's preference
  double max_quantum_ms = 20;      // longest micro-batch of a padded backend
};

// What requests do not say themselves: OverflowOptions in core/request.h.
struct DocumentSettings {
  std::string overflow = "truncate";
  int max_tokens_per_query = 0;  // 0 = no limit of its own
  int max_tokens_per_doc = 0;
  int window = 0;        // 0 = all the room that the query leaves
  int stride = 0;        // 0 = half a window
  int max_windows = 64;  // of one document; 0 = no limit
  bool merge_equal = true;
};

struct CacheSettings {
  int64_t documents_mib = 0, scores_mib = 0;  // 0 = off
};

struct ServerSettings {
  std::string host = "0.0.0.0";
  int grpc_port = 50051;  // 0 = any free port, negative = no gRPC server
  int http_port = 8080;
  int prometheus_port = -1;
  int grpc_workers = 10;
  int max_documents = 10000;  // pairs in one request
  int64_t max_body_bytes = 32 << 20;
  int64_t max_buffered_bytes = 512 << 20;  // bodies and replies of all requests
  int max_header_bytes = 16 << 10;
  int max_connections = 10000;
  double header_timeout_ms = 10'000, body_timeout_ms = 60'000, write_timeout_ms = 60'000,
         idle_timeout_ms = 75'000;
  std::string unix_socket;  // a path: HTTP there too
  std::string api_key_file;
  std::string tls_cert, tls_key;  // PEM files
  std::vector<std::string> cors;  // origins, or "*"
  bool strict_model_names = false;
  std::string access_log = "off";
};

struct MetricsSettings {
  bool reference_names = false;  // the reference system's Prometheus series too
};

// Ranking quality of what runs, beside its speed.
struct QualitySettings {
  std::string data;    // folder of queries, corpus, run and qrels, or "bundled"; empty = not measured
  std::string scores;  // a TREC run to agree with; empty = none
  bool against_fp32 = true;
  int queries = 0;  // at most; 0 = all
  int documents = 100;
};

// Requests that nobody measures, in flight while others are measured.
struct BackgroundSettings {
  int batch_size = 0;  // pairs of a request; 0 = none
  int concurrency = 1;
};

struct ExperimentSettings {
  std::vector<int> batch_sizes = {32};
  std::vector<int> concurrency_levels = {1};
  int benchmark_requests = 100;  // per cell
  std::optional<double> benchmark_duration_s;
  int warmup_iterations = 5;  // unmeasured requests before each cell
  int prefill_requests = 0;
  int dataset_size = 50000;         // pairs to load at most
  std::string dataset = "bundled";  // file, folder or "bundled"
  std::string load = "closed";
  std::vector<std::string> rates;  // of an open loop, each as ParseRate reads it
  std::string arrivals = "poisson";
  int seed = 1;
  int repeats = 1;                   // of the whole grid, on one server
  std::vector<std::string> targets;  // servers that are running already, each as ParseTarget reads it
  std::string api_key_file;          // for them
  std::string ca_file;               // for those with TLS; empty: the system's authorities
  QualitySettings quality;
  BackgroundSettings background;
};

struct Settings {
  std::string name, description;
  std::vector<InstanceSettings> instances = {InstanceSettings{}};
  std::string routing_strategy = "round_robin";
  std::string pipeline_mode = "full";
  BatchingSettings batching;
  TokenizerPoolSettings tokenizer_pool;
  SchedulerSettings scheduler;
  DocumentSettings documents;
  CacheSettings cache;
  ServerSettings server;
  MetricsSettings metrics;
  ExperimentSettings experiment;
};

}  // namespace rerankd
