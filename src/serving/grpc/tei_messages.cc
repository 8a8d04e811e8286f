#include "serving/grpc/tei_messages.h"

#include <algorithm>
#include <cmath>

namespace rerankd::serving {
namespace {

uint64_t Nanoseconds(double ms) { return static_cast<uint64_t>(std::llround(ms * 1e6)); }

uint32_t Count(int64_t n) { return static_cast<uint32_t>(std::clamp<int64_t>(n, 0, UINT32_MAX)); }

// Of the model's first instance; there are none in pipeline mode tokenization_only.
BackendCaps CapsOf(const ModelInfo& model, const Engine& engine) {
  for (const InstanceInfo& instance : engine.instances())
    if (&engine.models()[static_cast<size_t>(instance.model)] == &model) return instance.caps;
  return {};
}

}  // namespace

void SetTruncation(bool truncate, tei::v1::TruncationDirection direction, ScoreRequest* request) {
  request->pair_options.truncation = truncate ? Truncation::kLongestFirst : Truncation::kError;
  request->pair_options.truncate_left = direction == tei::v1::TRUNCATION_DIRECTION_LEFT;
  if (truncate) request->overflow.policy = Overflow::kTruncate;
}

void FillMetadata(const Answer& answer, tei::v1::Metadata* metadata) {
  metadata->set_compute_chars(Count(answer.characters));
  metadata->set_compute_tokens(Count(answer.result.counts.real));
  metadata->set_total_time_ns(Nanoseconds(answer.latency_ms));
  metadata->set_tokenization_time_ns(Nanoseconds(answer.result.timings.tokenize_ms));
  metadata->set_queue_time_ns(Nanoseconds(answer.result.timings.queue_ms));
  metadata->set_inference_time_ns(Nanoseconds(answer.result.timings.inference_ms));
}

tei::v1::InfoResponse TeiInfo(ScoreService& service, const ModelInfo& model) {
  const Settings& settings = service.settings();
  const BackendCaps caps = CapsOf(model, service.engine());
  const int batch_tokens = settings.scheduler.batch_tokens;
  tei::v1::InfoResponse info;
  info.set_version(RERANKD_VERSION);
  info.set_model_id(model.name);
  info.set_model_dtype(caps.precision == "fp32" ? "float32" : caps.precision);
  info.set_model_type(model.num_labels == 1 ? tei::v1::MODEL_TYPE_RERANKER : tei::v1::MODEL_TYPE_CLASSIFIER);
  info.set_max_concurrent_requests(Count(settings.scheduler.max_queue_requests));
  info.set_max_input_length(Count(model.max_length));
  info.set_max_batch_tokens(Count(batch_tokens > 0 ? batch_tokens : caps.batch_tokens));
  info.set_max_client_batch_size(Count(settings.server.max_documents));
  info.set_tokenization_workers(Count(settings.tokenizer_pool.num_workers));
  return info;
}

}  // namespace rerankd::serving
