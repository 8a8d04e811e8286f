#include "experiment/variant_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "experiment/http_get.h"
#include "experiment/stats.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

constexpr int kHttpTimeoutMs = 10'000;
constexpr double kBrokenSeconds = 0.3;  // from a broken connection to the end of its process

// A configuration file that lives as long as this.
class TemporaryFile {
 public:
  static Result<std::unique_ptr<TemporaryFile>> Create(const std::string& content) {
    std::string path = (fs::temp_directory_path() / "rerankd_serve_XXXXXX.yaml").string();
    const int fd = mkstemps(path.data(), 5);
    if (fd < 0) return Internal(fmt::format("cannot create a temporary file like {}", path));
    close(fd);
    std::unique_ptr<TemporaryFile> file(new TemporaryFile(path));
    RERANKD_RETURN_IF_ERROR(WriteFileAtomically(path, content));
    return file;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace

Status VariantRunner::Run(RunRecord* run, const std::function<Status()>& save) {
  for (const int batch : settings_.experiment.batch_sizes) {
    for (const int concurrency : settings_.experiment.concurrency_levels) {
      if (interrupt_.load()) return {};
      run->cells.push_back(RunCell(batch, concurrency, run));
      LogCell(run->cells.back());
      if (server_ != nullptr && server_->Alive()) FetchMetrics(run);
      RERANKD_RETURN_IF_ERROR(save());
    }
  }
  return {};
}

CellRecord VariantRunner::RunCell(int batch, int concurrency, RunRecord* run) {
  CellRecord cell;
  cell.batch = batch;
  cell.concurrency = concurrency;
  const Status ready = EnsureServer(run);
  if (!ready.ok()) {
    cell.error = ready.message();
    cell.skipped = options_.skip_unavailable && ready.code() == Code::kFailedPrecondition;
    return cell;
  }
  const Status status = Measure(&cell);
  if (!status.ok()) cell.error = status.message();
  if (!cell.good() && server_->EndsWithin(kBrokenSeconds))
    cell.error += "; the server ended: " + server_->WhyDead();
  return cell;
}

Status VariantRunner::EnsureServer(RunRecord* run) {
  if (!start_status_.ok()) return start_status_;
  if (server_ != nullptr && server_->Alive()) return {};
  start_status_ = StartServer(run);
  return start_status_;
}

Status VariantRunner::StartServer(RunRecord* run) {
  load_.reset();
  server_.reset();
  RERANKD_ASSIGN_OR_RETURN(const auto file, TemporaryFile::Create(run->configuration));
  const ServerCommand command{{options_.server_program, "serve", "--config", file->path()},
                              options_.server_ready_timeout_s};
  RERANKD_ASSIGN_OR_RETURN(server_, ServerProcess::Start(command, interrupt_));
  if (server_->grpc_address().empty()) return Unavailable("the server's ready line names no grpc address");
  run->server = server_->ready();
  const bool expect_scores = settings_.pipeline_mode != "tokenization_only";
  RERANKD_ASSIGN_OR_RETURN(load_, CellLoad::Create(server_->grpc_address(), dataset_, expect_scores));
  if (server_->http_address().empty()) return {};
  const auto info = HttpGet("http://" + server_->http_address() + "/info", kHttpTimeoutMs);
  if (info.ok()) run->instances = ParseInstances(*info);
  return HttpGet("http://" + server_->http_address() + "/reset", kHttpTimeoutMs).status();
}

LoadSpec VariantRunner::SpecOf(const CellRecord& cell) const {
  const ExperimentSettings& e = settings_.experiment;
  LoadSpec spec;
  spec.batch = cell.batch;
  spec.concurrency = cell.concurrency;
  spec.requests = e.benchmark_requests;
  spec.duration_s = e.benchmark_duration_s;
  spec.budget_s = options_.budget_s;
  return spec;
}

Status VariantRunner::Prepare(const LoadSpec& spec) {
  const ExperimentSettings& e = settings_.experiment;
  RERANKD_RETURN_IF_ERROR(load_->WarmUp(spec.batch, e.warmup_iterations, interrupt_));
  if (e.prefill_requests == 0) return {};
  LoadSpec prefill = spec;
  prefill.requests = e.prefill_requests;
  prefill.duration_s.reset();
  const LoadResult result = load_->Run(prefill, interrupt_, [](int64_t, double) {});
  return result.error.empty() ? Status() : Unavailable("prefill: " + result.error);
}

// A cell by time has no known number of requests: its bar counts seconds.
LoadResult VariantRunner::RunWithBar(const LoadSpec& spec) {
  const bool by_time = spec.duration_s.has_value();
  ProgressBar bar(fmt::format("batch {} x {}", spec.batch, spec.concurrency),
                  by_time ? static_cast<int64_t>(*spec.duration_s) : spec.requests,
                  by_time ? "s" : "requests", options_.progress);
  return load_->Run(spec, interrupt_, [&](int64_t done, double seconds) {
    bar.Set(by_time ? static_cast<int64_t>(seconds) : done);
  });
}

Status VariantRunner::Measure(CellRecord* cell) {
  const LoadSpec spec = SpecOf(*cell);
  RERANKD_RETURN_IF_ERROR(Prepare(spec));
  if (interrupt_.load()) return Cancelled("interrupted before a request was measured");
  const TokenTotals tokens_before = Tokens();
  const double cpu_before = server_->CpuSeconds();
  LoadResult result = RunWithBar(spec);
  const double cpu_after = server_->CpuSeconds();
  const TokenTotals tokens_after = Tokens();
  cell->seconds = result.seconds;
  cell->client_cpu_s = result.client_cpu_s;
  cell->requests = std::move(result.samples);
  if (cpu_before >= 0 && cpu_after >= 0) cell->server_cpu_s = cpu_after - cpu_before;
  if (tokens_after.real >= 0) {
    cell->real_tokens = tokens_after.real - std::max<int64_t>(tokens_before.real, 0);
    cell->computed_tokens = tokens_after.computed - std::max<int64_t>(tokens_before.computed, 0);
  }
  if (result.stopped_by_budget)
    cell->note = fmt::format("stopped by the time budget of {} s after {} requests", *spec.budget_s,
                             cell->requests.size());
  return result.error.empty() ? Status() : Unavailable(result.error);
}

Result<std::string> VariantRunner::GetMetrics() const {
  if (server_->http_address().empty()) return Unavailable("the server has no HTTP port");
  return HttpGet("http://" + server_->http_address() + "/metrics.json", kHttpTimeoutMs);
}

VariantRunner::TokenTotals VariantRunner::Tokens() const {
  const auto text = GetMetrics();
  if (!text.ok()) return {};
  const auto metrics = ParseServerMetrics(*text);
  return metrics.ok() ? TokenTotals{metrics->real_tokens, metrics->computed_tokens} : TokenTotals();
}

// The history since the reset. A failure keeps the previous one: what the client measured is what counts.
void VariantRunner::FetchMetrics(RunRecord* run) const {
  const auto text = GetMetrics();
  const auto metrics = text.ok() ? ParseServerMetrics(*text) : Result<ServerMetrics>(text.status());
  if (!metrics.ok()) {
    log_("  no server metrics: " + metrics.status().message());
    return;
  }
  run->metrics_json = *text;
  if (!metrics->backend.empty()) run->backend = metrics->backend;
  if (!metrics->device.empty()) run->device = metrics->device;
}

void VariantRunner::LogCell(const CellRecord& cell) const {
  const std::string name = fmt::format("  batch {:>4} x {:<3}", cell.batch, cell.concurrency);
  if (!cell.good()) {
    log_(fmt::format("{} {}: {}", name, cell.skipped ? "skipped" : "failed", cell.error));
    return;
  }
  std::vector<double> latency;
  for (const RequestSample& sample : cell.requests) latency.push_back(sample.latency_ms);
  const auto pairs = static_cast<double>(cell.requests.size()) * cell.batch;
  const Summary s = Summarize(std::move(latency));
  log_(fmt::format("{} {:9.1f} pairs/s   latency p50 {:.1f} p99 {:.1f} ms", name,
                   cell.seconds > 0 ? pairs / cell.seconds : 0, s.p50, s.p99));
}

}  // namespace rerankd::experiment
