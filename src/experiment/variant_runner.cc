#include "experiment/variant_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "config/load.h"
#include "config/rate.h"
#include "experiment/cell_stats.h"
#include "experiment/http_get.h"
#include "load/machine_speed.h"

namespace rerankd::experiment {
namespace {

constexpr int kHttpTimeoutMs = 10'000;
constexpr double kBrokenSeconds = 0.3;  // from a broken connection to the end of its process
constexpr double kCapacityStepSeconds = 2;

template <typename T>
void AddTo(T* total, T value) {
  *total = std::max(*total, T{0}) + value;  // negative = not known yet
}

void AddNote(const std::string& note, CellRecord* cell) {
  cell->note += (cell->note.empty() ? "" : "; ") + note;
}

}  // namespace

std::vector<CellRecord> VariantRunner::Grid() const {
  const ExperimentSettings& e = settings_.experiment;
  std::vector<CellRecord> cells;
  for (const int batch : e.batch_sizes) {
    CellRecord cell;
    cell.batch = batch;
    for (const std::string& rate : e.rates) {
      cell.rate_name = rate;
      cells.push_back(cell);
    }
    if (!e.rates.empty()) continue;
    for (const int concurrency : e.concurrency_levels) {
      cell.concurrency = concurrency;
      cells.push_back(cell);
    }
  }
  return cells;
}

Status VariantRunner::Run(RunRecord* run, const std::function<Status()>& save) {
  const std::vector<CellRecord> grid = Grid();
  for (int round = 0; round < settings_.experiment.repeats; ++round) {
    for (size_t i = 0; i < grid.size(); ++i) {
      if (interrupt_.load()) return {};
      if (round == 0) run->cells.push_back(grid[i]);
      CellRecord& cell = run->cells[i];
      if (!cell.good()) continue;  // failed in an earlier round
      RunCell(round, run, &cell);
      LogCell(cell);
      if (server_ != nullptr && server_->Alive()) FetchMetrics(run);
      RERANKD_RETURN_IF_ERROR(save());
    }
  }
  return {};
}

void VariantRunner::RunCell(int round, RunRecord* run, CellRecord* cell) {
  const Status ready = EnsureServer(run);
  if (!ready.ok()) {
    cell->error = ready.message();
    cell->skipped = options_.skip_unavailable && ready.code() == Code::kFailedPrecondition;
    return;
  }
  const Status status = Measure(round, cell);
  // What earlier rounds measured is kept when an interrupt leaves this one without a request.
  if (!status.ok() && !(status.code() == Code::kCancelled && round > 0)) cell->error = status.message();
  if (!cell->good() && server_ != nullptr && server_->EndsWithin(kBrokenSeconds))
    cell->error += "; the server ended: " + server_->WhyDead();
}

Status VariantRunner::EnsureServer(RunRecord* run) {
  if (!start_status_.ok()) return start_status_;
  if (target_) {
    if (load_ == nullptr) {
      RERANKD_ASSIGN_OR_RETURN(load_, NewLoad());
    }
    return {};
  }
  if (server_ != nullptr && server_->Alive()) return {};
  start_status_ = StartServer(run);
  return start_status_;
}

load::Target VariantRunner::LoadTarget() const {
  if (target_) return *target_;
  load::Target own;
  own.url = server_->grpc_address();
  own.protocol = "rerankd";
  own.allow_no_scores = settings_.pipeline_mode == "tokenization_only";
  return own;
}

// Our own servers get the reference system's requests, each pair with its own query; the protocols of others
// have one query a request, and all targets get the same texts.
Result<std::unique_ptr<CellLoad>> VariantRunner::NewLoad() const {
  return CellLoad::Create(LoadTarget(), dataset_, target_.has_value());
}

load::ProcessUsage VariantRunner::ServerUsage() const {
  return server_ != nullptr ? server_->Usage() : load::ProcessUsage();
}

Status VariantRunner::StartServer(RunRecord* run) {
  load_.reset();
  server_.reset();
  RERANKD_ASSIGN_OR_RETURN(server_, ServerProcess::Serve(options_.server_program, run->configuration,
                                                         options_.server_ready_timeout_s, interrupt_));
  run->server = server_->ready();
  RERANKD_ASSIGN_OR_RETURN(load_, NewLoad());
  if (server_->http_address().empty()) return {};
  const auto info = HttpGet("http://" + server_->http_address() + "/info", kHttpTimeoutMs);
  if (info.ok()) run->instances = ParseInstances(*info);
  return HttpGet("http://" + server_->http_address() + "/reset", kHttpTimeoutMs).status();
}

LoadSpec VariantRunner::SpecOf(const CellRecord& cell, int round) const {
  const ExperimentSettings& e = settings_.experiment;
  LoadSpec spec;
  spec.batch = cell.batch;
  spec.concurrency = std::max(cell.concurrency, 1);
  spec.requests = e.benchmark_requests;
  spec.duration_s = e.benchmark_duration_s;
  spec.budget_s = options_.budget_s;
  if (!cell.open()) return spec;
  spec.rate = cell.rate;
  spec.constant = e.arrivals == "constant";
  spec.seed = static_cast<uint64_t>(e.seed) + static_cast<uint64_t>(round);  // other arrivals in each repeat
  return spec;
}

// Shares become requests/s, by a closed loop that is measured once for each size of request.
Status VariantRunner::ResolveRate(CellRecord* cell) {
  if (!cell->open()) return {};
  RERANKD_ASSIGN_OR_RETURN(const WantedRate wanted, ParseRate(cell->rate_name));
  cell->rate = wanted.value;
  if (!wanted.of_capacity) return {};
  auto known = capacities_.find(cell->batch);
  if (known == capacities_.end()) {
    const double step_s = std::min(kCapacityStepSeconds, options_.budget_s.value_or(kCapacityStepSeconds));
    const load::Capacity capacity = load_->MeasureCapacity(cell->batch, step_s, interrupt_);
    if (interrupt_.load()) return Cancelled("interrupted before a request was measured");
    if (capacity.requests_per_s <= 0) return Unavailable("no request of a closed loop was answered");
    known = capacities_.emplace(cell->batch, capacity).first;
  }
  cell->capacity = known->second.requests_per_s;
  cell->rate = wanted.value * cell->capacity;
  return {};
}

Status VariantRunner::Prepare(const LoadSpec& spec) {
  const ExperimentSettings& e = settings_.experiment;
  RERANKD_RETURN_IF_ERROR(load_->WarmUp(spec.batch, e.warmup_iterations, interrupt_));
  if (e.prefill_requests == 0) return {};
  LoadSpec prefill = spec;
  prefill.requests = e.prefill_requests;
  prefill.duration_s.reset();
  prefill.rate.reset();
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

// Beside a second loop of its own connection, where the file asks for one.
LoadResult VariantRunner::RunBeside(const LoadSpec& spec, CellRecord* cell) {
  const BackgroundSettings& b = settings_.experiment.background;
  if (b.batch_size == 0) return RunWithBar(spec);
  const auto background = NewLoad();
  std::atomic<bool> stop{false};
  int64_t answered = 0;
  std::thread other([&] {
    if (background.ok()) answered = (*background)->RunBackground(b.batch_size, b.concurrency, stop);
  });
  LoadResult result = RunWithBar(spec);
  stop = true;
  other.join();
  AddNote(fmt::format("{} requests of {} pairs, {} in flight, were answered beside it", answered,
                      b.batch_size, b.concurrency),
          cell);
  return result;
}

Status VariantRunner::Measure(int round, CellRecord* cell) {
  RERANKD_RETURN_IF_ERROR(ResolveRate(cell));
  const LoadSpec spec = SpecOf(*cell, round);
  RERANKD_RETURN_IF_ERROR(Prepare(spec));
  if (interrupt_.load()) return Cancelled("interrupted before a request was measured");
  RepeatRecord repeat;
  repeat.before = load::MeasureMachineSpeed();
  const TokenTotals tokens_before = Tokens();
  const load::ProcessUsage before = ServerUsage();
  LoadResult result = RunBeside(spec, cell);
  const load::ProcessUsage after = ServerUsage();
  const TokenTotals tokens_after = Tokens();
  repeat.after = load::MeasureMachineSpeed();
  repeat.seconds = result.seconds;
  // The tokens of a background load cannot be told from the measured ones.
  const bool alone = settings_.experiment.background.batch_size == 0;
  if (alone && tokens_after.real >= 0) {
    AddTo(&cell->real_tokens, tokens_after.real - std::max<int64_t>(tokens_before.real, 0));
    AddTo(&cell->computed_tokens, tokens_after.computed - std::max<int64_t>(tokens_before.computed, 0));
    if (tokens_after.multiply_adds > 0)
      AddTo(&cell->multiply_adds, tokens_after.multiply_adds - std::max(tokens_before.multiply_adds, 0.0));
  }
  AddTo(&cell->client_cpu_s, result.client_cpu_s);
  if (before.cpu_s >= 0 && after.cpu_s >= 0) AddTo(&cell->server_cpu_s, after.cpu_s - before.cpu_s);
  cell->server_resident_bytes = after.resident_bytes;
  if (cell->open()) cell->concurrency = std::max(cell->concurrency, result.peak_in_flight);
  if (result.stopped_by_budget)
    AddNote(fmt::format("stopped by the time budget of {} s after {} requests", *spec.budget_s,
                        result.samples.size()),
            cell);
  if (result.held > 0)
    AddNote(fmt::format("{} requests were sent late: too many were unanswered", result.held), cell);
  if (result.clock_went_back > 0)
    AddNote(
        fmt::format("the clock went back {} times: latencies then are lower bounds", result.clock_went_back),
        cell);
  if (settings_.documents.merge_equal && cell->batch > dataset_.info.pairs && round == 0)
    AddNote(
        fmt::format(
            "a request of {} pairs wraps the data set of {}: documents.merge_equal scores equal ones once",
            cell->batch, dataset_.info.pairs),
        cell);
  for (RequestSample& sample : result.samples) {
    sample.repeat = round;
    sample.start_ms += cell->seconds * 1000;
    cell->requests.push_back(std::move(sample));
  }
  cell->seconds += result.seconds;
  cell->repeats.push_back(repeat);
  return result.error.empty() ? Status() : Unavailable(result.error);
}

Result<std::string> VariantRunner::GetMetrics() const {
  if (server_ == nullptr || server_->http_address().empty())
    return Unavailable("the server has no HTTP port of ours");
  return HttpGet("http://" + server_->http_address() + "/metrics.json", kHttpTimeoutMs);
}

VariantRunner::TokenTotals VariantRunner::Tokens() const {
  const auto text = GetMetrics();
  if (!text.ok()) return {};
  const auto metrics = ParseServerMetrics(*text);
  return metrics.ok() ? TokenTotals{metrics->real_tokens, metrics->computed_tokens, metrics->multiply_adds}
                      : TokenTotals();
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

// Our own servers are asked for raw logits.
Result<TrecRun> VariantRunner::Rank(const QualitySet& set, const std::string& own_address) const {
  if (target_) return RankOnServer(set, *target_, interrupt_);
  load::Target own;
  own.url = own_address;
  own.protocol = "kserve";
  own.model = settings_.instances.front().model;
  return RankOnServer(set, own, interrupt_);
}

Result<TrecRun> VariantRunner::RankInFp32(const QualitySet& set) const {
  RERANKD_ASSIGN_OR_RETURN(const auto server,
                           ServerProcess::Serve(options_.server_program, DumpSettings(InFp32(settings_)),
                                                options_.server_ready_timeout_s, interrupt_));
  return Rank(set, server->grpc_address());
}

void VariantRunner::MeasureQuality(const QualitySet& set, std::map<std::string, TrecRun>* references,
                                   RunRecord* run) {
  const bool there = target_ ? load_ != nullptr : server_ != nullptr && server_->Alive();
  if (!there || interrupt_.load()) return;
  QualityRecord quality;
  quality.data = set.name;
  const auto ranked = Rank(set, target_ ? "" : server_->grpc_address());
  if (interrupt_.load()) return;
  const TrecRun* fp32 = nullptr;
  Status status = ranked.status();
  // What a target would be in fp32 is not known.
  if (status.ok() && settings_.experiment.quality.against_fp32 && !target_) {
    const std::string key = ReferenceKey(settings_);
    if (!references->contains(key)) {
      auto reference =
          settings_.instances.front().precision == "fp32" ? Result<TrecRun>(*ranked) : RankInFp32(set);
      if (reference.ok()) references->emplace(key, std::move(*reference));
      status = reference.status().WithContext("fp32 to compare with");
    }
    if (references->contains(key)) fp32 = &references->at(key);
  }
  if (interrupt_.load()) return;
  if (ranked.ok()) quality = experiment::MeasureQuality(set, *ranked, fp32);
  quality.error = status.ok() ? "" : status.message();
  if (!status.ok()) log_("  ranking quality: " + quality.error);
  if (status.ok() && quality.has_qrels)
    log_(fmt::format("  {}: nDCG@10 {:.4f}, MRR@10 {:.4f}", quality.data, quality.ndcg10, quality.mrr10));
  run->quality = std::move(quality);
}

void VariantRunner::LogCell(const CellRecord& cell) const {
  const std::string name = cell.open() ? fmt::format("  batch {:>4} at {:<6}", cell.batch, cell.rate_name)
                                       : fmt::format("  batch {:>4} x {:<3}", cell.batch, cell.concurrency);
  if (!cell.good()) {
    log_(fmt::format("{} {}: {}", name, cell.skipped ? "skipped" : "failed", cell.error));
    return;
  }
  const CellStats s = StatsOf(cell);
  log_(fmt::format("{} {:9.1f} pairs/s   latency p50 {:.1f} p99 {:.1f} ms", name, s.rate, s.latency.p50,
                   s.latency.p99));
  if (static_cast<int>(cell.repeats.size()) < settings_.experiment.repeats) return;
  for (const std::string& warning : CellWarnings(cell)) log_("  warning: " + warning);
}

}  // namespace rerankd::experiment
