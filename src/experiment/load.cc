#include "experiment/load.h"

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "inference.grpc.pb.h"

namespace rerankd::experiment {
namespace {

constexpr auto kDeadline = std::chrono::seconds(60);
constexpr auto kProgressEvery = std::chrono::milliseconds(100);
constexpr int kNoScores = 204;  // status_code of a pipeline without a model

TimePoint Now() { return SteadyClock::Get().Now(); }

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

inference::InferRequest BuildRequest(const Dataset& dataset, int64_t index, int batch) {
  inference::InferRequest request;
  const auto count = static_cast<int64_t>(dataset.pairs.size());
  request.mutable_pairs()->Reserve(batch);
  for (int64_t k = 0; k < batch; ++k) {
    const auto& [query, document] = dataset.pairs[static_cast<size_t>((index * batch + k) % count)];
    inference::QueryDocPair* pair = request.add_pairs();
    pair->set_query(query);
    pair->set_document(document);
  }
  return request;
}

// What makes an answer useless although the call succeeded.
std::string Flaw(const inference::InferResponse& response, const LoadSpec& spec) {
  if (response.status_code() == kNoScores && !spec.expect_scores) return "";
  if (response.scores_size() != spec.batch)
    return fmt::format("{} scores for {} pairs", response.scores_size(), spec.batch);
  for (const float score : response.scores())
    if (!std::isfinite(score)) return fmt::format("a score is {}", score);
  return "";
}

// The milliseconds of `stage` in the trailing metadata: "server-timing: queue;dur=0.125, tokenize;dur=…" (the
// form of the HTTP header of that name); -1 when the server does not say.
double StageMs(const grpc::ClientContext& context, std::string_view stage) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find("server-timing");
  if (it == trailers.end()) return -1;
  const std::string_view text(it->second.data(), it->second.size());
  for (std::string_view part : Split(text, ',')) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    const std::string prefix = std::string(stage) + ";dur=";
    if (!part.starts_with(prefix)) continue;
    double value = 0;
    const auto [stop, error] = std::from_chars(part.data() + prefix.size(), part.data() + part.size(), value);
    return error == std::errc() && value >= 0 ? value : -1;
  }
  return -1;
}

std::string CodeText(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    default:
      return fmt::format("gRPC status {}", static_cast<int>(code));
  }
}

std::string ErrorText(const RequestSample& sample) {
  return fmt::format("request {}: {}", sample.index, sample.error);
}

}  // namespace

// State of one Run, shared by its slots.
struct LoadGenerator::Shared {
  TimePoint start = Now();
  TimePoint end = TimePoint::max();  // no request starts later
  std::atomic<int64_t> next{0}, done{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;  // guards the rest
  std::condition_variable changed;
  int running = 0;
  std::vector<RequestSample> samples;
};

LoadGenerator::LoadGenerator(std::shared_ptr<grpc::Channel> channel, const Dataset& dataset)
    : channel_(std::move(channel)), dataset_(dataset) {}

RequestSample LoadGenerator::Call(int64_t index, const LoadSpec& spec) const {
  RequestSample sample;
  sample.index = index;
  sample.pairs = spec.batch;
  grpc::ClientContext context;
  inference::InferResponse response;
  const auto stub = inference::InferenceService::NewStub(channel_);
  const TimePoint start = Now();
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  const grpc::Status status = stub->Infer(&context, BuildRequest(dataset_, index, spec.batch), &response);
  sample.latency_ms = ToMs(Now() - start);
  sample.start_ms = ToMs(start.time_since_epoch());
  sample.queue_ms = StageMs(context, "queue");
  sample.tokenize_ms = StageMs(context, "tokenize");
  sample.inference_ms = StageMs(context, "inference");
  sample.error = status.ok() ? Flaw(response, spec)
                             : fmt::format("{}: {}", CodeText(status.error_code()), status.error_message());
  return sample;
}

Status LoadGenerator::WarmUp(int batch, int64_t count, bool expect_scores,
                             const std::atomic<bool>& interrupt) const {
  LoadSpec spec;
  spec.batch = batch;
  spec.expect_scores = expect_scores;
  for (int64_t i = 0; i < count && !interrupt.load(); ++i) {
    const RequestSample sample = Call(0, spec);
    if (!sample.error.empty()) return Unavailable("warm-up: " + ErrorText(sample));
  }
  return {};
}

void LoadGenerator::Slot(const LoadSpec& spec, Shared* shared) const {
  std::vector<RequestSample> own;
  while (!shared->stop.load() && Now() < shared->end) {
    const int64_t index = shared->next.fetch_add(1);
    if (!spec.duration_s && index >= spec.requests) break;
    own.push_back(Call(index, spec));
    shared->done.fetch_add(1);
    if (!own.back().error.empty()) shared->stop.store(true);
  }
  const std::lock_guard lock(shared->mutex);
  shared->samples.insert(shared->samples.end(), own.begin(), own.end());
  --shared->running;
  shared->changed.notify_all();
}

LoadResult LoadGenerator::Run(const LoadSpec& spec, const std::atomic<bool>& interrupt,
                              const Progress& progress) const {
  Shared shared;
  shared.running = spec.concurrency;
  double limit = spec.duration_s.value_or(0);
  if (spec.budget_s && (limit == 0 || *spec.budget_s < limit)) limit = *spec.budget_s;
  if (limit > 0) shared.end = shared.start + FromMs(limit * 1000);
  const double cpu_before = ProcessCpuSeconds();
  std::vector<std::thread> slots;
  for (int i = 0; i < spec.concurrency; ++i) slots.emplace_back([&] { Slot(spec, &shared); });
  {
    std::unique_lock lock(shared.mutex);
    while (shared.running > 0) {
      shared.changed.wait_for(lock, kProgressEvery);
      if (interrupt.load()) shared.stop.store(true);
      progress(shared.done.load(), ToSeconds(Now() - shared.start));
    }
  }
  for (std::thread& slot : slots) slot.join();

  LoadResult result;
  result.client_cpu_s = ProcessCpuSeconds() - cpu_before;
  result.samples = std::move(shared.samples);
  std::sort(result.samples.begin(), result.samples.end(),
            [](const RequestSample& a, const RequestSample& b) { return a.index < b.index; });
  double first = HUGE_VAL, last = 0;
  for (const RequestSample& s : result.samples) {
    first = std::min(first, s.start_ms);
    last = std::max(last, s.start_ms + s.latency_ms);
    if (!s.error.empty() && result.error.empty()) result.error = ErrorText(s);
  }
  for (RequestSample& s : result.samples) s.start_ms -= first;
  result.seconds = result.samples.empty() ? 0 : (last - first) / 1000;
  const bool all_sent = spec.duration_s ? spec.budget_s.value_or(HUGE_VAL) >= *spec.duration_s
                                        : static_cast<int64_t>(result.samples.size()) >= spec.requests;
  result.stopped_by_budget = spec.budget_s && !all_sent && result.error.empty() && !interrupt.load();
  return result;
}

}  // namespace rerankd::experiment
